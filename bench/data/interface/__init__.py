"""Interface that all data sets share: descriptor, splits and metrics."""
