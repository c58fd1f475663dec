"""Data-parallel runs: each process computes its share of every batch on the same model."""
