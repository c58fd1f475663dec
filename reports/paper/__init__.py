"""The numbers of the SmartFRZ paper (Li et al., ICLR 2024), copied table by table.

Models and data sets that only a caption names have a column here.
"""
