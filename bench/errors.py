"""Exceptions that the command line prints as one line, without a traceback."""


class UserError(Exception):
    """Problem that the user can fix. The message is one line: what is wrong, where, what to do."""


class ProcessLost(UserError):
    """Loss of a process or a machine of a run; the run can resume from its checkpoint."""
