"""Draw which room of the package imports which, from the code: `python -m strongscale.common.rooms docs/rooms.md`.

Arrows go one way: a room may import those below it, and none that imports it.
"""

import argparse
import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import write_text

PACKAGE = Path(__file__).parents[1]
OPENING = """# Which room imports which

Made from the code by `make docs`; do not edit. A folder of `workflow/strongscale/` is a room. An arrow says that a room
imports from another; arrows go one way, and a test keeps them so. `common`, which all rooms import, has none drawn, and
neither have arrows that others imply.
"""

Rooms = Mapping[str, set[str]]


def rooms(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Each room, and the rooms that its files import from, inside functions too."""
    found: dict[str, set[str]] = {}
    for path in sorted(package.glob("*/**/*.py")):
        room = path.relative_to(package).parts[0]
        others = {name.split(".")[1] for name in _imported(path) if "." in name}
        found.setdefault(room, set()).update(others - {room})
    return found


def _imported(path: Path) -> Iterator[str]:
    """The modules of this package that a file names in its import lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.ImportFrom) and node.module == "strongscale":
            yield from (f"strongscale.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("strongscale."):
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("strongscale."))


def in_order(graph: Rooms) -> list[str]:
    """The rooms, each after all that it imports; a `UserError` that names a circle, where there is one."""
    sorter, found = TopologicalSorter(graph), []
    try:
        sorter.prepare()
    except CycleError as error:
        raise UserError(f"rooms import one another in a circle: {' -> '.join(reversed(error.args[1]))}") from None
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), reverse=True)  # the page is from above to below, and lists them so by name
        found += ready
        sorter.done(*ready)
    return found


def without_implied(graph: Rooms) -> dict[str, set[str]]:
    """The arrows that don't follow from others."""
    reached: dict[str, set[str]] = {}
    for room in in_order(graph):
        reached[room] = graph[room].union(*(reached[other] for other in graph[room]))
    return {room: others - set().union(*(reached[other] for other in others)) for room, others in graph.items()}


def page(package: Path = PACKAGE) -> str:
    """The picture, and what each room holds."""
    graph = rooms(package)
    drawn = without_implied({room: others - {"common"} for room, others in graph.items() if room != "common"})
    arrows = [f"    {room} --> {other}" for room, others in sorted(drawn.items()) for other in sorted(others)]
    lines = [
        OPENING,
        "```mermaid",
        "graph TD",
        *arrows,
        "```",
        "",
        "| room | what lives there | imports |",
        "|---|---|---|",
    ]
    for room in reversed(in_order(graph)):
        told = ast.get_docstring(ast.parse((package / room / "__init__.py").read_text(encoding="utf-8"))) or ""
        lines.append(f"| `{room}` | {' '.join(told.split())} | {', '.join(sorted(graph[room])) or '-'} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Write the page of rooms."""
    parser = argparse.ArgumentParser(prog="strongscale.common.rooms", description=main.__doc__)
    parser.add_argument("output", type=Path)
    write_text(parser.parse_args(arguments).output, page())


if __name__ == "__main__":
    run(main)
