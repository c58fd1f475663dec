"""Commands that plan, execute and watch runs."""
