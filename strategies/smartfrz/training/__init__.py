"""Training of SmartFRZ's predictor on recorded runs of source tasks.

The package launches runs. Outside of strategies/smartfrz, only the command line imports it.
"""
