"""Exceptions that the command line prints as one line, without a traceback."""


class UserError(Exception):
    """Problem that the user can fix. The message is one line: what is wrong, where, what to do."""


class ProcessLost(UserError):
    """Loss of a process or a machine of a run; the run can resume from its checkpoint."""


def summarise_error(error: Exception, *, with_type: bool = False) -> str:
    """Return the message of another library's error on one line of at most 200 characters.

    with_type: begin with the type of the error. An error without a message returns its type alone.
    """
    kind = type(error).__name__
    message = " ".join(str(error).split())
    if not message:
        return kind
    return (f"{kind}: {message}" if with_type else message)[:200]
