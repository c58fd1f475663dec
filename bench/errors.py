"""The one exception that reaches a user as a plain line."""


class UserError(Exception):
    """Something the user can put right: what is wrong, where, and what to do, in one line."""


class ProcessLost(UserError):
    """A process of a run was killed; the run can go on from its checkpoint."""
