"""Reports and tables as values, and their output as terminal text, Markdown, CSV and LaTeX."""
