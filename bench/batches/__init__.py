"""Order and content of every batch."""
