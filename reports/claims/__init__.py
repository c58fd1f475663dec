"""Claims of the paper, each judged on the runs by a fixed rule that the report prints."""
