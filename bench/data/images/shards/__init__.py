"""Tar shards of images, read by index, and the files of a class folder that they may replace."""
