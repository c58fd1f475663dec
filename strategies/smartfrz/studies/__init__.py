"""Studies of SmartFRZ's predictor: features, labels, and its use in whole runs."""
