"""Text models, one file per family, and their tokenizer."""
