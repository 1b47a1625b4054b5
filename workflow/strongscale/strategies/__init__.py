"""The scaling strategies: one file each. To add one, add a file with one subclass of `Strategy`."""

import importlib
import inspect
import pkgutil

from strongscale.strategies.base import Strategy


def kinds() -> dict[str, type[Strategy]]:
    """Every strategy of this folder, by its file's name."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]
    return {name: _strategy_in(name) for name in names}


def _strategy_in(name: str) -> type[Strategy]:
    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and issubclass(cls, Strategy)
    ]
    assert len(found) == 1, f"{module.__file__} must define exactly one Strategy, it defines {len(found)}"
    return found[0]
