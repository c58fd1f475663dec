"""Data sets that consist of image files, in folders or in tar shards."""
