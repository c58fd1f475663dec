"""HTML page with all tables and figures in one file, readable without a network."""
