"""Weights from files: reading, converting, translating names, and loading into models."""
