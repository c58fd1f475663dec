"""Exceptions of freezebench, and one-line summaries of the errors of other libraries."""


class UserError(Exception):
    """Problem that the user can fix. The message is one line: what is wrong, where, what to do.

    The command line prints the message without a traceback.
    """


class ProcessLost(UserError):
    """Loss of a process or a machine of a run; the run can resume from its checkpoint."""


class Stopped(Exception):
    """Exception raised when a run stops on request, after its checkpoint was written."""


def summarise_error(error: Exception, *, with_type: bool = False) -> str:
    """Return the message of another library's error on one line of at most 200 characters.

    with_type: begin with the type of the error. An error without a message returns its type alone.
    """
    kind = type(error).__name__
    message = " ".join(str(error).split())
    if not message:
        return kind
    return (f"{kind}: {message}" if with_type else message)[:200]
