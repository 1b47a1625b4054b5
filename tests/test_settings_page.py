"""The page of settings is made from the schema."""

from pathlib import Path

from strongscale.settings.page import page


def test_the_page_is_up_to_date():
    committed = Path(__file__).parents[1] / "docs" / "settings.md"
    assert committed.read_text() == page(), "run `make docs`"


def test_every_setting_has_a_meaning():
    rows = [line.split("|") for line in page().splitlines() if line.startswith("| `")]
    assert rows
    assert all(row[2].strip() for row in rows)
