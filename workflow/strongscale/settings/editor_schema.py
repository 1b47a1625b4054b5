"""Write config.schema.json, by which editors complete and check config.yaml, from the schema itself.

It is a JSON Schema of draft 7, the newest that the YAML language server knows in full. What no single key can know (names
that must exist, values that must go together) and the parameters of a strategy are left to the parser.
"""

import argparse
import inspect
import math
import types
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from strongscale.common import parts
from strongscale.common.command import run
from strongscale.common.files import write_json
from strongscale.common.schema import Between, NonEmpty, default_of, is_base_of_parts, split
from strongscale.settings.config import Config

DRAFT = "http://json-schema.org/draft-07/schema#"
NUMBER_AS_TEXT = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"  # YAML 1.1 reads 1e-3 as a text
WORDS = {int: "integer", str: "string", bool: "boolean", types.NoneType: "null"}

Schema = dict[str, Any]


def document() -> Schema:
    """The schema of config.yaml, and of a file that is laid over it: no key of the outermost table is needed."""
    whole = _table(Config)
    del whole["required"]
    study = whole["properties"]["studies"]["additionalProperties"]
    study["properties"]["like"] = {
        "type": "string",
        "description": "another study, from which this one takes all it doesn't say itself",
    }
    study |= {"if": {"required": ["like"]}, "else": {"required": study.pop("required")}}
    return {"$schema": DRAFT, **whole}


def _table(cls: type) -> Schema:
    """The schema of a dataclass: its fields and no others."""
    hints = get_type_hints(cls, include_extras=True)
    properties, needed = {}, []
    for field in fields(cls):
        if not field.init:
            continue
        properties[field.name] = _of(hints[field.name])
        default = default_of(field)
        if default is MISSING:
            needed.append(field.name)
        elif not isinstance(default, dict) or not default:  # those of a table stand at its keys
            properties[field.name]["default"] = default
    table = {"type": "object", "description": inspect.getdoc(cls), "properties": properties}
    return table | ({"required": needed} if needed else {}) | {"additionalProperties": False}


def _of(hint: Any) -> Schema:
    """The schema of a type with its rules and its meaning."""
    bare, rules, meaning = split(hint)
    schema = _bare(bare)
    for rule in rules:
        schema |= _keywords(rule, bare)
    return schema | ({"description": meaning} if meaning else {})


def _bare(hint: Any) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(option) for option in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0])}
    if origin is tuple:
        length = len(arguments)
        return {"type": "array", "items": [_of(part) for part in arguments], "minItems": length, "maxItems": length}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    if is_base_of_parts(hint):
        return _part(hint)
    if is_dataclass(hint):
        return _table(hint)  # type: ignore[arg-type]
    if hint is float:  # editors say the message in place of the pattern
        return {"type": ["number", "string"], "pattern": NUMBER_AS_TEXT, "patternErrorMessage": "Not a number."}
    return {} if hint is Any else {"type": WORDS[hint]}


def _part(base: type[parts.Part]) -> Schema:
    """One of our own parts, by its name or as a table with its parameters; or a user's own, whose parameters aren't known."""
    tables: list[Schema] = []
    for name in parts.names(base):
        table = _table(parts.find(base, name, base.noun))
        table["properties"]["kind"] = {"const": name}
        tables.append(table | ({} if name == base.usual else {"required": ["kind", *table.get("required", [])]}))
    file = {"type": "string", "pattern": r"\.py$", "description": "a file of your own"}
    own = {"type": "object", "required": ["kind"], "properties": {"kind": file}}
    return {"anyOf": [{"enum": parts.names(base)}, file, *tables, own]}


def _keywords(rule: Between | NonEmpty, bare: Any) -> Schema:
    """A rule's keywords; JSON Schema applies bounds to numbers alone, whatever else a union allows."""
    if isinstance(rule, NonEmpty):
        return {"minProperties": 1} if get_origin(bare) is dict else {"minItems": 1, "uniqueItems": True}
    bounds = {"minimum": rule.low, "exclusiveMinimum": rule.above, "maximum": rule.high}
    return {keyword: bound for keyword, bound in bounds.items() if math.isfinite(bound)}


def main(arguments: list[str]) -> None:
    """Write the JSON Schema of config.yaml, for editors."""
    parser = argparse.ArgumentParser(prog="strongscale.settings.editor_schema", description=main.__doc__)
    parser.add_argument("output", type=Path)
    write_json(parser.parse_args(arguments).output, document())


if __name__ == "__main__":
    run(main)
