"""Whether the run in a cell's folder is done: asked before ranks are started, and again by the ranks themselves."""

from pathlib import Path

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.schema import build
from strongscale.settings.cells import CellSettings

MADE = ("epochs.csv", "steps.json", "weights.safetensors", "result.json")
"""What a run leaves, the last one last."""


def read_settings(folder: Path) -> CellSettings:
    """The settings of the cell in this folder."""
    return build(CellSettings, read_json(folder / "cell.json"), str(folder / "cell.json"))


def is_finished(folder: Path) -> bool:
    """Whether a run of these very settings has left all that it leaves; by whatever code, which its result names."""
    try:
        result = read_json(folder / "result.json")
    except UserError:
        return False
    is_this_cells = isinstance(result, dict) and result.get("settings_hash") == read_settings(folder).hash
    return is_this_cells and all((folder / name).is_file() for name in MADE)


def forget(folder: Path) -> None:
    """Remove what a run of other settings left at its end, its result first."""
    for name in ("result.json", "weights.safetensors", "steps.json"):
        (folder / name).unlink(missing_ok=True)
