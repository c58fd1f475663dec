"""One HTML page of all tables and figures, which opens from disk without a network."""
