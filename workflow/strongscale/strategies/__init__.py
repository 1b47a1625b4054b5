"""The scaling strategies: one file each. To add one, add a file with one subclass of `Strategy`."""

import importlib
import inspect
import pkgutil

from strongscale.common.errors import UserError
from strongscale.strategies.base import Strategy


def names() -> list[str]:
    """The strategies there are, by their files; none is imported, so that a broken one is the matter of those who name it."""
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]


def named(name: str) -> type[Strategy]:
    """The strategy of that file, which alone is imported."""
    if name not in names():
        raise UserError(f"no strategy {name!r}; allowed: {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and issubclass(cls, Strategy)
    ]
    if len(found) != 1:
        raise UserError(f"{module.__file__}: must define exactly one Strategy, it defines {len(found)}")
    return found[0]


def kinds() -> dict[str, type[Strategy]]:
    """Every strategy of this folder, by its file's name."""
    return {name: named(name) for name in names()}
