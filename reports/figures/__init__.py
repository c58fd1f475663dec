"""Figures: every seed visible, the profile in the title, safe for colour-blind readers."""
