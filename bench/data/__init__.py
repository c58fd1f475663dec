"""Data sets of images and texts: descriptors, loading, splits, augmentation and metrics."""
