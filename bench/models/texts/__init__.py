"""Models of texts: one file a family, and their tokenizer."""
