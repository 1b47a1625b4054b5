"""Turn plain mappings (YAML, JSON) into typed, frozen dataclasses, and back.

A field is declared once, as `name: Annotated[type, rule, "what it means"] = default`. Every mistake is named
by its dotted key, the value found and what is allowed. Only the standard library is used, so that a login node
and a compute node without the workflow's packages can read the settings.
"""

import difflib
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from strongscale.common import parts
from strongscale.common.errors import UserError, show

T = TypeVar("T")
LATER = "later"


@dataclass(frozen=True, kw_only=True)
class Between:
    """A rule for numbers: `low` and `high` are allowed, unless `above` excludes the low end."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf

    def allows(self, value: float) -> bool:
        """Whether the number satisfies the rule; NaN never does."""
        return self.low <= value <= self.high and value > self.above

    def __str__(self) -> str:
        bounds = []
        if self.low > -math.inf:
            bounds.append(f"at least {self.low:g}")
        if self.above > -math.inf:
            bounds.append(f"greater than {self.above:g}")
        if self.high < math.inf:
            bounds.append(f"at most {self.high:g}")
        return " and ".join(bounds)


POSITIVE = Between(above=0)
AT_LEAST_0 = Between(low=0)
AT_LEAST_1 = Between(low=1)
SEED = Between(low=0, high=2**63 - 1)  # what random generators take
WORKERS = Between(low=1, high=4096)


@dataclass(frozen=True)
class NonEmpty:
    """A rule for lists and tables: at least one entry, and in a list no entry twice."""

    def allows(self, value: Any) -> bool:
        """Whether the collection satisfies the rule."""
        return len(value) > 0 and (isinstance(value, Mapping) or len(set(value)) == len(value))

    def __str__(self) -> str:
        return "at least one entry, none twice"


class Mistake(UserError):
    """A wrong setting: its dotted key, its value, what is allowed."""

    def __init__(self, key: str, found: Any, allowed: str):
        super().__init__(f"{key}: {show(found)} is not allowed; allowed: {allowed}")


def build(cls: type[T], raw: Any, key: str) -> T:
    """Make a `cls` from the mapping `raw`; `key` is its dotted place, for messages.

    Where `cls` is the base of parts, the table's `kind` says which of them is made; a name alone is a table of that kind.
    """
    if isinstance(raw, cls):  # made already
        return raw
    if is_base_of_parts(cls):
        part: T = _build_part(cls, raw, key)
        return part
    if not isinstance(raw, Mapping):
        raise Mistake(key, raw, f"a table with the keys {_names(cls)}")
    with parts.blamed_on(cls):
        hints = get_type_hints(cls, include_extras=True)
    known = [one for one in fields(cls) if one.init]  # type: ignore[arg-type]
    for name in raw:
        if name not in {one.name for one in known}:
            near = difflib.get_close_matches(str(name), [one.name for one in known], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{_join(key, name)}: unknown key; allowed: {_names(cls)}{hint}")
    values = {}
    for one in known:
        if one.name in raw:
            values[one.name] = _convert(hints[one.name], raw[one.name], _join(key, one.name))
        elif one.default is MISSING and one.default_factory is MISSING:
            raise UserError(f"{_join(key, one.name)}: missing; needed: {describe(hints[one.name])}")
    try:
        with parts.blamed_on(cls):
            return cls(**values)
    except parts.PartError:
        raise
    except UserError as mistake:  # from __post_init__, which knows its own fields but not where it stands
        raise UserError(_join(key, mistake)) from None


def is_base_of_parts(cls: Any) -> bool:
    """Whether a table of this type says by its `kind` which part it is."""
    return isinstance(cls, type) and issubclass(cls, parts.Part) and "room" in vars(cls)


def _build_part(base: Any, raw: Any, key: str) -> Any:
    """The part that a table asks for by its `kind`, or a name alone; the other keys are its parameters."""
    table = {"kind": raw} if isinstance(raw, str) else raw
    if not isinstance(table, Mapping) or ("kind" not in table and base.usual is None):
        raise Mistake(key, raw, describe(base))
    kind = table.get("kind", base.usual)
    found = parts.find(base, kind, _join(key, "kind") if isinstance(raw, Mapping) else key)
    return build(found, {name: value for name, value in table.items() if name != "kind"}, key)


def later(default: Any) -> Any:
    """The default of a field that earlier versions had none of.

    `plain` leaves it out while it has that: what was made before is then still what the settings ask for.
    """
    return field(default=default, metadata={LATER: True})


def plain(value: Any) -> Any:
    """The inverse of `build`: only dicts, lists, strings, numbers, booleans and None."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": value.kind} if isinstance(value, parts.Part) else {}
        return kind | {one.name: plain(getattr(value, one.name)) for one in fields(value) if _is_told(one, value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _is_told(one: Field[Any], value: Any) -> bool:
    return one.init and not (LATER in one.metadata and getattr(value, one.name) == one.default)


def split(hint: Any) -> tuple[Any, list[Between | NonEmpty], str]:
    """The bare type of a field, its rules, and its meaning in words."""
    if get_origin(hint) is not Annotated:
        return hint, [], ""
    inner, *extras = get_args(hint)
    rules = [extra for extra in extras if isinstance(extra, Between | NonEmpty)]
    return inner, rules, next((extra for extra in extras if isinstance(extra, str)), "")


def default_of(one: Field[Any]) -> Any:
    """What a field is where it is left out, as `plain` writes it; `MISSING` where it is needed."""
    if one.default_factory is not MISSING:
        return plain(one.default_factory())
    return one.default if one.default is MISSING else plain(one.default)


def describe(hint: Any) -> str:
    """The allowed values of a type, in words."""
    if get_origin(hint) is Annotated:
        inner, rules, _ = split(hint)
        return " ".join([describe(inner), *map(str, rules)])
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        arguments = get_args(hint)
        if arguments[-1] is Ellipsis:
            return f"a list of ({describe(arguments[0])})"
        return f"a list of {len(arguments)} ({describe(arguments[0])})"
    if get_origin(hint) is dict:
        return f"a table of name: {describe(get_args(hint)[1])}"
    if is_base_of_parts(hint):
        return parts.allowed(hint)
    if is_dataclass(hint):
        return f"a table with the keys {_names(hint)}"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return "null" if hint is type(None) else words.get(hint, str(hint))


def _convert(hint: Any, raw: Any, key: str) -> Any:
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *extras = get_args(hint)
        value = _convert(inner, raw, key)
        for rule in extras:
            if isinstance(rule, Between) and isinstance(value, int | float) and not rule.allows(value):
                raise Mistake(key, raw, describe(hint))
            if isinstance(rule, NonEmpty) and not rule.allows(value):
                raise Mistake(key, raw, describe(hint))
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(hint, raw, key)
    if origin is Literal:
        if any(raw == option and type(raw) is type(option) for option in get_args(hint)):
            return raw
    elif origin is tuple and isinstance(raw, list | tuple):
        arguments = get_args(hint)
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(raw)
        if len(arguments) == len(raw):
            return tuple(
                _convert(part, item, f"{key}[{i}]") for i, (part, item) in enumerate(zip(arguments, raw, strict=True))
            )
    elif origin is dict and isinstance(raw, Mapping):
        value_hint = get_args(hint)[1]
        return {str(name): _convert(value_hint, item, _join(key, name)) for name, item in raw.items()}
    elif is_dataclass(hint):
        return build(hint, raw, key)  # type: ignore[arg-type]
    elif hint is Any:
        return raw
    elif hint is float and _is_number(_number_from_yaml(raw)):
        return float(raw)
    elif hint in (int, str, bool, type(None)) and type(raw) is hint:
        return raw
    raise Mistake(key, raw, describe(hint))


def _convert_union(hint: Any, raw: Any, key: str) -> Any:
    """The first option that fits; a table is taken for the option that is one, and so is a list, so that their mistakes are theirs."""
    options = get_args(hint)
    lists = [option for option in options if get_origin(split(option)[0]) is tuple]
    if isinstance(raw, list | tuple) and lists:
        return _convert(lists[0], raw, key)
    if isinstance(raw, Mapping):
        options = tuple(option for option in options if is_dataclass(option) or get_origin(option) is dict)
        if options:
            return _convert(options[0], raw, key)
    for option in options:
        if raw is not None and is_base_of_parts(option):
            return _build_part(option, raw, key)
        try:
            return _convert(option, raw, key)
        except Mistake:
            continue
    raise Mistake(key, raw, describe(hint))


def _number_from_yaml(raw: Any) -> Any:
    """YAML 1.1 reads 1e-3, without a point, as a text."""
    if isinstance(raw, str):
        try:
            return float(raw)
        except ValueError:
            return raw
    return raw


def _is_number(value: Any) -> bool:
    """Whether it is a finite number, and as a float still is."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _names(cls: Any) -> str:
    return ", ".join(one.name for one in fields(cls) if one.init) or "(none)"


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)
