"""Tar shards of images, read by index, and the image files of a class folder."""
