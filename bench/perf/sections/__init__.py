"""Sections of `freezebench perf`: one file a section."""
