"""Leaderboard: ranking of all strategies, each compared with the controls at equal cost."""
