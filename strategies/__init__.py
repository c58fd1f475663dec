"""One file (or folder) a strategy: each decides what to freeze and changes nothing itself."""
