"""Commands that plan, make and watch runs."""
