"""Commands, one file each: `arguments` declares the options and `main` executes the command.

No file imports torch at the top, so that help is fast.
"""
