"""Leaderboard: ranking of the methods, each compared with the controls at equal cost."""
