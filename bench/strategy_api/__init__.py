"""What a strategy sees, what it returns and how its answers are checked."""
