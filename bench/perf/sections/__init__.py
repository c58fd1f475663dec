"""Sections of `freezebench perf`, one file per section."""
