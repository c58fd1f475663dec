"""Commands of `freezebench`: the table COMMANDS in main.py names the module of each command.

In the module of a command, HELP and EXAMPLE are texts of its help. The function `arguments`
declares its options, and `main` executes it. The other modules hold what commands share. No module
imports torch at the top, so that help is fast.
"""
