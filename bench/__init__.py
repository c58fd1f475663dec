"""What one run is, how it is measured, and how many runs are launched."""
