"""Training of SmartFRZ's predictor on recorded source runs.

It launches runs, so only the command line imports it.
"""
