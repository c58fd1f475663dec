"""One run on several processes: each takes its share of every batch, all hold the same model."""
