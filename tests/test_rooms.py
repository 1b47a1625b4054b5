"""Rooms import one another one way, and the page that draws them is that of the code."""

from pathlib import Path

import pytest

from strongscale.common import rooms
from strongscale.common.errors import UserError

ROOT = Path(__file__).parents[1]


def test_arrows_go_one_way():
    rooms.in_order(rooms.rooms())


def test_the_page_is_that_of_the_code():
    assert (ROOT / "docs" / "rooms.md").read_text(encoding="utf-8") == rooms.page(), "run `make docs`"


def test_every_module_lies_in_a_room_that_says_what_lives_there():
    assert {path.name for path in rooms.PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert all((rooms.PACKAGE / room / "__init__.py").read_text().startswith('"""') for room in rooms.rooms())


def test_a_circle_is_named(tmp_path):
    for room, line in {
        "below": "from strongscale.above import x",
        "above": "def f():\n    from strongscale.below.y import z",
    }.items():
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text(f"{line}\n")
    with pytest.raises(UserError, match="in a circle: (above -> below -> above|below -> above -> below)"):
        rooms.in_order(rooms.rooms(tmp_path))


def test_arrows_that_follow_from_others_are_not_drawn():
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert rooms.without_implied(graph) == {"a": {"b"}, "b": {"c"}, "c": set()}
