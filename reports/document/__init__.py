"""A report as a value, and its forms: terminal text, Markdown, CSV and LaTeX."""
