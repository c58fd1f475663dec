"""Hardware of a run, and settings of its process."""
