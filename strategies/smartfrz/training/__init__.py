"""Training of SmartFRZ's predictor on recorded source runs.

The package launches runs, so only the command line imports it.
"""
