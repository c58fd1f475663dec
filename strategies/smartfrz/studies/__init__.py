"""Studies of SmartFRZ's predictor: feature sets, label rules, and accuracy of complete runs."""
