"""Training and evaluation batches: their order and their content."""
