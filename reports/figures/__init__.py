"""Drawing functions for the figures, with every seed visible and colour-blind safe colours."""
