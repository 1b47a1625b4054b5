"""Put two data sets side by side: `python -m strongscale.data.resemblance`."""

import argparse
import shlex
from pathlib import Path

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.style import save, theme
from strongscale.data.quality.page import write_page
from strongscale.data.resemblance.figure import curves, slices
from strongscale.data.resemblance.page import sections, stratify
from strongscale.data.resemblance.pairs import pair, read


def main(arguments: list[str]) -> None:
    """Put two data sets side by side: a page (.md, .html), curves and slices (png, svg, pdf)."""
    parser = argparse.ArgumentParser(prog="strongscale.data.resemblance", description=main.__doc__)
    parser.add_argument("folders", nargs=2, type=Path, help="the two data sets; differences are the second's")
    parser.add_argument("--names", nargs=2, default=None, help="what to call them; their folders' names")
    parser.add_argument("--strata", nargs="+", type=float, default=[4, 8, 15], help="limits of diameters, mm")
    parser.add_argument("--dimensions", type=int, choices=(2, 3), default=2, help="central slices, or whole cubes")
    parser.add_argument("--whole", action="store_true", help="leave out cubes that reach beyond their scan")
    parser.add_argument("--output", required=True, type=Path, help="what to write, without its ending")
    options = parser.parse_args(arguments)
    limits_mm = options.strata
    if len(limits_mm) < 2 or sorted(set(limits_mm)) != limits_mm:
        raise UserError("--strata: allowed: two or more diameters, rising")
    names = options.names or [folder.name for folder in options.folders]
    if names[0] == names[1]:
        raise UserError(f"--names: both are called {names[0]}; call them differently")
    first, second = (
        read(path, name, whole_only=options.whole) for path, name in zip(options.folders, names, strict=True)
    )
    if first.cubes_NDHW.shape[1:] != second.cubes_NDHW.shape[1:] or first.window_hu != second.window_hu:
        raise UserError("the two data sets differ in cubes.voxels or cubes.window_hu; make them alike")
    groups = stratify(pair(first, second), limits_mm, options.dimensions)
    for group in groups:
        if any(group.sides[0].is_in(split).sum() < 2 for split in ("training", "validation")):
            raise UserError(f"fewer than two pairs of {group.name} for training or for validation; change --strata")
    folder, name = options.output.parent, options.output.name
    with theme():
        label = f"{first.name} and {second.name}, paired by diameter"
        note = f"{label}. Profile: means, and shaded the middle half of the cubes. Linear: the variance that components explain"
        save(curves((first, second), groups, options.dimensions), folder, name, note)
        save(slices(groups[0]), folder, f"{name}_slices", label)
    command = f"python -m strongscale.data.resemblance {shlex.join(arguments)}"
    pictures = [("Side by side", folder / f"{name}.png"), ("Slices", folder / f"{name}_slices.png")]
    title = f"{first.name} and {second.name} side by side"
    write_page(options.output, title[0].upper() + title[1:], sections(command, (first, second), groups), pictures)


if __name__ == "__main__":
    run(main)
