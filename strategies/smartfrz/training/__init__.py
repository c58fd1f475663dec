"""Training of SmartFRZ's predictor on recorded source runs.

The package launches runs. Only the command line imports it.
"""
