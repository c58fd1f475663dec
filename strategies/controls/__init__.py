"""Controls: simple methods that a freezing strategy has to beat at the same cost."""
