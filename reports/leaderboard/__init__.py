"""Leaderboard: all strategies, compared at equal cost with the controls, and ranked."""
