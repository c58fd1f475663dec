"""One file a command: its arguments and what it does. No torch at import, so that help is fast."""
