"""Execution of one run, from its spec to its result."""
