"""Freezing strategies, one file or folder each; a strategy decides, and the harness freezes."""
