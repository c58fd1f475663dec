"""Tables, figures and statistics: reads results and the paper's numbers, trains nothing."""
