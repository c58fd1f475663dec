"""Numbers printed in the SmartFRZ paper (Li et al., ICLR 2024), one CSV file per table.

If only the caption of a table names the model or data set, its CSV file still has a column for it.
"""
