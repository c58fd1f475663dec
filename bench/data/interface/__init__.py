"""Parts that every data set shares: descriptor, splits and metrics."""
