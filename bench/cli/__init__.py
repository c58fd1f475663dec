"""Commands of `freezebench`, one file each.

In each file, the function `arguments` declares the options, and `main` executes the command. No
file imports torch at the top, so that help is fast.
"""
