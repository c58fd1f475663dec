"""Tables, figures and statistics, computed from results and the paper's numbers.

Reports never train.
"""
