"""HTML page with all tables and figures in one file, readable from disk without a network."""
