"""Results on disk as data frames: runs, cells, epochs and recordings."""
