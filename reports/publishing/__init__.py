"""Writing of the reports of a sweep, and of its page."""
