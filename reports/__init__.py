"""Tables, figures and statistics, computed from results and the paper's numbers.

This package never trains a model.
"""
