"""Hardware and process settings of a run."""
