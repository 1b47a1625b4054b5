"""Parts that are one file each: a task, a model, a strategy, an optimizer, a schedule, an update rule.

A part is a dataclass, and its fields are its parameters. Ours lie in the room of their kind and go by the names of their
files (`weak`). A user's own lies anywhere and goes by its path, which ends in `.py`; nothing else need be touched.
"""

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from strongscale.common.errors import RunError, UserError, show

OWN = ".py"
OWN_PATH = "__strongscale_own_path__"
"""By which the module of a user's own file knows its path."""


class PartError(UserError):
    """A part's file can't be used: it stops the studies that name the file, and no other."""


class Part:
    """The base of the bases: `Task`, `Model`, `Strategy`, `Optimizer`, `Schedule`, `Update`."""

    noun: ClassVar[str]
    """What a part of this base is called in messages."""
    room: ClassVar[str]
    """The package in which ours lie."""
    usual: ClassVar[str | None] = None
    """The kind of a table that doesn't say which."""
    kind: ClassVar[str] = ""
    """The name by which a part is asked for."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.kind = cls.__module__.rpartition(".")[2]


def names(base: type[Part]) -> list[str]:
    """Our own parts of this base, by their files; none is imported."""
    folder = importlib.import_module(base.room).__path__
    return [module.name for module in pkgutil.iter_modules(folder) if not module.ispkg and module.name != "base"]


def find(base: type[Part], kind: Any, key: str) -> type[Any]:
    """The part that goes by this name or path; `key` is where it was asked for."""
    if isinstance(kind, str) and kind.endswith(OWN):
        return _of_file(base, kind, key)
    if kind not in names(base):
        raise UserError(f"{key}: no {base.noun} {show(kind)}; allowed: {allowed(base)}")
    return _only_one(base, _imported(f"{base.room}.{kind}"))


def allowed(base: type[Part]) -> str:
    """What may be asked for, in words."""
    return f"{', '.join(names(base))}, or a file of your own (its path, which ends in {OWN})"


def file_of(part: type[Any]) -> Path | None:
    """The file of a user's own that a class stands in; None for ours."""
    path: Path | None = getattr(sys.modules.get(part.__module__), OWN_PATH, None)
    return path


def digests(parts: list[type[Part]]) -> dict[str, str]:
    """The files of users' own parts, each with a digest of its content."""
    files = {path for part in parts if (path := file_of(part))}
    return {path.as_posix(): _digest(path.read_text(encoding="utf-8")) for path in sorted(files)}


@contextlib.contextmanager
def blamed() -> Iterator[None]:
    """What goes wrong in a user's own file is told in one line that names it; any other error is ours, and passes."""
    try:
        yield
    except (UserError, RunError):
        raise
    except Exception as error:
        modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
        own = {str(path.absolute()): path for module in modules if isinstance(path := vars(module).get(OWN_PATH), Path)}
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
        if not frames:
            raise
        place = f"{own[frames[-1].filename]}: line {frames[-1].lineno}"
        raise PartError(f"{place}: {_in_words(error)}") from error


@contextlib.contextmanager
def blamed_on(part: type[Any]) -> Iterator[None]:
    """What goes wrong with a class of a user's own file is that file's, wherever it goes wrong."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        path = file_of(part)
        if path is None:
            raise
        raise PartError(f"{path}: {part.__name__}: {_in_words(error)}") from error


def _of_file(base: type[Part], kind: str, key: str) -> type[Any]:
    path = Path(os.path.normpath(kind))
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PartError(f"{key}: {path}: {reason}; allowed: the path of a file, from {Path.cwd()}") from None
    found = _only_one(base, _executed(path, text))
    found.kind = path.as_posix()
    return found


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        spec = importlib.util.find_spec(name)
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        raise PartError(f"{spec.origin if spec else name}: {line}{_in_words(error)}") from None


@functools.cache  # the same content is the same class, however often it is asked for
def _executed(path: Path, text: str) -> ModuleType:
    """The module that a file's text makes: that very text, which has the digest, and no bytecode of an earlier one."""
    module = ModuleType(f"strongscale_own_{path.stem}_{_digest(text)}")
    module.__file__ = str(path.absolute())
    setattr(module, OWN_PATH, path)
    sys.modules[module.__name__] = module  # where dataclasses look for it
    try:
        with blamed():
            exec(compile(text, module.__file__, "exec"), vars(module))  # noqa: S102  # what the user named in config.yaml
    except (SyntaxError, SystemExit) as error:
        del sys.modules[module.__name__]
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        raise PartError(f"{path}: {line}{_in_words(error)}") from None
    except PartError:
        del sys.modules[module.__name__]
        raise
    return module


def _in_words(error: BaseException) -> str:
    words = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"


def _only_one(base: type[Part], module: ModuleType) -> type[Any]:
    """The one part that a file defines; helpers' names begin with an underscore."""
    found: list[type[Any]] = [
        cls
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and issubclass(cls, base) and not name.startswith("_")
    ]
    if len(found) != 1:
        classes = f" ({', '.join(cls.__name__ for cls in found)})" if found else ""
        raise PartError(
            f"{_place(module)}: defines {len(found)} classes that are a {base.__name__}{classes}; allowed: exactly one, "
            f"the {base.noun} (others may begin with an underscore)"
        )
    if inspect.isabstract(found[0]):
        missing = ", ".join(sorted(found[0].__abstractmethods__))
        raise PartError(f"{_place(module)}: {found[0].__name__} lacks {missing}, which a {base.noun} needs")
    unknown = set(inspect.get_annotations(found[0])) - {field.name for field in fields(found[0])}
    if forgotten := sorted(name for name in unknown if "ClassVar" not in str(inspect.get_annotations(found[0])[name])):
        raise PartError(
            f"{_place(module)}: {found[0].__name__}.{forgotten[0]} is no field; write @dataclass(frozen=True) above the class"
        )
    return found[0]


def _place(module: ModuleType) -> str:
    """Where a module's file is, from here where that is shorter."""
    return str(getattr(module, OWN_PATH, module.__file__))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
