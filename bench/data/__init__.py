"""Image data sets: what they are, where they come from, how batches of them are augmented."""
