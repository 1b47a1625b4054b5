"""What ends a stage with one clear line and no traceback: a user's mistake, or a run that can't go on."""


class UserError(ValueError):
    """What is wrong, where it stands and what is allowed, in one line for the user."""


class RunError(RuntimeError):
    """What has gone wrong in a run, in one line; tried again, it may well succeed."""


def show(value: object) -> str:
    """A value as messages show it: not too long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
