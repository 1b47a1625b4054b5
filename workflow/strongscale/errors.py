"""The one exception for a user's mistake: one clear line, no traceback."""


class UserError(ValueError):
    """What is wrong, where it stands and what is allowed, in one line for the user."""
