"""Drawing functions for the figures: every seed is visible, and colours are colour-blind safe."""
