"""Data classes of reports and tables, with output as terminal text, Markdown, CSV and LaTeX."""
