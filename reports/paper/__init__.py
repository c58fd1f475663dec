"""The numbers of the SmartFRZ paper (Li et al., ICLR 2024), copied table by table."""
