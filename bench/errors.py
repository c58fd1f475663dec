"""Exceptions that the command line prints as one line, without a traceback."""


class UserError(Exception):
    """Problem that the user can fix. The message is one line: what is wrong, where, what to do."""


class ProcessLost(UserError):
    """Death of a process of a run; the run can resume from its checkpoint."""
