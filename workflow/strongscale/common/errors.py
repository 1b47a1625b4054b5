"""A user's mistake, and a run that must stop by nobody's: one clear line each, no traceback."""


class UserError(ValueError):
    """What is wrong, where it stands and what is allowed, in one line for the user."""


class RunError(RuntimeError):
    """What has gone wrong in a run, in one line; tried again, it may well succeed."""
