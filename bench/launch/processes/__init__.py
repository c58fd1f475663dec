"""Processes of a launch: fork server, messages, and the processes that share one run."""
