"""Tar shards of images, read by index."""
