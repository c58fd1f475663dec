"""Files of a run on disk: its folder, status, comparison and upload."""
