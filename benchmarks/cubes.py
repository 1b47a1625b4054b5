"""From scans to cubes: this package against resampling with SimpleITK and MONAI, in seconds, memory and voxels."""

import csv
import importlib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import frame
from benchmarks.cutters import CONTENDERS, VOXELS, Cutter, Floats, find_nodules, ours, scan_path
from strongscale.common.command import run
from strongscale.data.scans.metaimage import write_scan

log = logging.getLogger(__name__)

SHAPE_ZYX, QUICK_SHAPE_ZYX = (300, 512, 512), (60, 96, 96)
SPACING_MM = np.array([0.7, 0.7, 1.25])
NODULES = (2, 3)  # in turn from scan to scan: LUNA16 has 2.4 in a scan that has any
FIRST = "ours, without smoothing"
DEFAULT = "ours, as the stage does"
PAIRS = (
    (FIRST, "SimpleITK, whole volume"),
    (DEFAULT, "SimpleITK, whole volume"),
    (FIRST, "MONAI, whole volume"),
    (DEFAULT, "MONAI, whole volume"),
    ("ours, compressed", "SimpleITK, whole volume, compressed"),
)
STAGE = "ours, the stage's command"
AIM_TIMES, AIM_MB = 50, 200
PACKAGES = ("numpy", "scipy", "SimpleITK", "monai", "torch")
SEED = 1

SAME = (
    "Largest difference of a voxel, in [0, 1]. Resampling a whole volume puts its voxels where its grid has them, so a "
    "crop at the nearest voxel lies up to 0.87 mm aside of the nodule; cut there, ours is the same. What is left is "
    "rounding. Cubes smoothed before they are sampled are meant to differ."
)
CAVEATS = (
    "The scans are artificial: blobs and noise within the window. Time doesn't depend on what they show, but for the "
    "compressed ones, where real scans may be smaller or larger.",
    "Whole-volume resampling is the usual way, not the best one that those libraries offer: *each cube* and *each box* are. "
    "The last one does what we do: most of the gain is in reading and sampling no more than the box, not in faster code.",
    "SimpleITK and MONAI use all cores by their own choice, ours uses one: on more cores their times fall, and the workflow cuts as many parts of a subset at once.",
    "MONAI's reader of .mhd needs the `itk` package; here it reads uncompressed NIfTI copies of the same scans with its "
    "NibabelReader. `Spacing` computes in 32 bits here; its default of 64 takes more time and memory.",
    "*From disk*: dropping a file from the cache of this system leaves it in that of the disk or of a virtual machine's host.",
    "A scan with more nodules brings whole-volume resampling closer: its cost is by the scan, ours by the nodule.",
    "A compressed scan must be read from its start: there ours decompresses up to the nodule, each time anew.",
)


def write_scans(folder: Path, num_scans: int, shape_ZYX: tuple[int, int, int]) -> None:
    """Scans in all forms that contenders read, and their annotations.csv; each second one is stored turned round."""
    itk: Any = importlib.import_module("SimpleITK")
    random = np.random.default_rng(SEED)
    rows: list[list[str | float]] = []
    for number in range(num_scans):
        seriesuid = f"scan{number}"
        direction = np.diag([-1.0, -1.0, 1.0] if number % 2 else [1.0, 1.0, 1.0])
        origin_mm = np.array([-170.3, -181.9, -1200.7]) * direction.diagonal()
        raw = scan_path(folder, seriesuid, ".mhd")
        write_scan(raw, _content(shape_ZYX, random), SPACING_MM, origin_mm, direction)
        image = itk.ReadImage(str(raw))
        for ending in (".zraw", ".nii"):
            path = scan_path(folder, seriesuid, ending)
            path.parent.mkdir(exist_ok=True)
            itk.WriteImage(image, str(path), ending == ".zraw")
        size_mm = SPACING_MM * shape_ZYX[::-1]
        for _ in range(NODULES[number % 2]):
            centre_mm = origin_mm + direction @ (random.uniform(0.25, 0.75, 3) * size_mm)
            rows.append([seriesuid, *centre_mm.round(4).tolist(), 6.0])
    with (folder / "annotations.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"])
        writer.writerows(rows)


def _content(shape_ZYX: tuple[int, int, int], random: np.random.Generator) -> NDArray[np.int16]:
    """Smooth blobs in the window, so that clipping before or after an interpolation is the same, and a scan's noise.

    Both repeat, to be made quickly; the noise after more than zlib looks back, so that it doesn't compress too well.
    """
    blobs = ndimage.gaussian_filter(random.standard_normal((75, 64, 64)), 3, mode="wrap")
    noise = 20 * random.standard_normal((10, *shape_ZYX[1:]))
    whole = _repeat(np.round(-300 + 130 * blobs / blobs.std()), shape_ZYX) + _repeat(np.round(noise), shape_ZYX)
    return np.clip(whole, -1000, 400, out=whole)


def _repeat(tile: Floats, shape_ZYX: tuple[int, int, int]) -> NDArray[np.int16]:
    repeats = [-(-size // width) for size, width in zip(shape_ZYX, tile.shape, strict=True)]
    return np.tile(tile.astype(np.int16), repeats)[tuple(slice(size) for size in shape_ZYX)]


def contenders(folder: Path, num_nodules: int) -> dict[str, Callable[[], frame.Figures]]:
    """All that can run here, each in a process of its own; ours first."""
    present = [name for name, contender in CONTENDERS.items() if frame.installed(contender.package)]
    turns: dict[str, Callable[[], frame.Figures]] = {
        name: partial(_turn, name, folder, num_nodules) for name in present
    }
    return turns | {STAGE: partial(frame.run_alone, stage_command(folder))}


def _turn(name: str, folder: Path, num_nodules: int) -> frame.Figures:
    command = [sys.executable, "-m", "benchmarks.cutters", name, str(folder)]
    warm = frame.run_alone([*command, "--save", str(_saved(folder, name))])
    cold = frame.run_alone([*command, "--cold"])
    return {
        "time_per_nodule_ms": 1000 * warm["time_s"] / num_nodules,
        "from_disk_per_nodule_ms": 1000 * cold["time_s"] / num_nodules,
        **{key: warm[key] for key in ("process_s", "peak_memory_mb", "above_imports_mb")},
    }


def stage_command(folder: Path) -> list[str]:
    """The workflow's own command on the same scans."""
    settings = json.dumps({"minimum_readers": 3})
    options = {
        "settings": settings,
        "scans": folder,
        "subset": "mhd",
        "cubes": folder / "c.npy",
        "rows": folder / "r.csv",
    }
    pairs = [(f"--{name}", str(value)) for name, value in options.items()]
    return [sys.executable, "-m", "strongscale.data.cubes", *(word for pair in pairs for word in pair)]


def _saved(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '_')}.npz"


def differences(folder: Path, names: Sequence[str]) -> str:
    """How much every contender's cubes differ from ours, as a table."""
    cutter, nodules = ours(smoothing=False), find_nodules(folder)
    rows = []
    for name in names:
        with np.load(_saved(folder, name), allow_pickle=False) as saved:
            cubes, centres_mm, asked_mm = saved["cubes"], saved["centres_mm"], saved["asked_mm"]
        asked = _cut_all(cutter, folder, nodules, asked_mm)
        same_place = _cut_all(cutter, folder, nodules, centres_mm)
        aside_mm = np.linalg.norm(centres_mm - asked_mm, axis=1).max()
        numbers = [f"{np.abs(cubes - other).max():.1e}" for other in (asked, same_place)]
        rows.append([name, *numbers, f"{aside_mm:.2f}"])
    header = ["contender", "from ours around the nodule", "from ours where it was cut", "cut aside of the nodule, mm"]
    return frame.markdown_table(header, rows)


def _cut_all(cutter: Cutter, folder: Path, nodules: dict[str, Floats], centres_mm: Floats) -> NDArray[np.float32]:
    """Our cubes around other points: as many a scan as it has nodules, in their order."""
    ends = np.cumsum([len(points) for points in nodules.values()])[:-1]
    parts = zip(nodules, np.split(centres_mm, ends), strict=True)
    return np.concatenate([cutter(scan_path(folder, seriesuid, ".mhd"), points)[0] for seriesuid, points in parts])


def verdict(summaries: Sequence[frame.Summary]) -> str:
    """What was aimed at, and what was found, each a line."""
    found = {(one.contender, one.figure): one for one in summaries}
    lines = []
    for ours_name, peer in PAIRS:
        for figure, where in (("time_per_nodule_ms", "in the cache"), ("from_disk_per_nodule_ms", "on disk")):
            if (peer, figure) not in found:
                continue
            times = found[peer, figure].quartiles[1] / found[ours_name, figure].quartiles[1]
            aim = f"*{ours_name}*: {AIM_TIMES} times faster a nodule than *{peer}*, scans {where}"
            lines.append([aim, f"{frame.short(times)} times", _said(times >= AIM_TIMES)])
    peak_mb = found[STAGE, "peak_memory_mb"].quartiles[1]
    lines.append(
        [f"*the stage's command*: less than {AIM_MB} MB", f"{frame.short(peak_mb)} MB", _said(peak_mb < AIM_MB)]
    )
    return frame.markdown_table(["aim", "found", ""], lines)


def _said(reached: bool) -> str:
    return "reached" if reached else "**not reached**"


def page(
    names: Sequence[str], command: str, num_scans: int, num_nodules: int, shape_ZYX: tuple[int, int, int]
) -> frame.Page:
    """What was compared and how."""
    size = " × ".join(str(length) for length in shape_ZYX[::-1])
    megabytes = 2 * np.prod(shape_ZYX) / 1e6
    contenders_said = "\n".join(f"- *{name}*: {CONTENDERS[name].says}." for name in names if name in CONTENDERS)
    return frame.Page(
        title="Cubes: how long, and in how much memory",
        command=command,
        compared=f"From files of scans to the cubes of their nodules: {VOXELS}³ voxels of 1 mm, intensities in [0, 1], "
        f"along the patient's axes.\n\n{contenders_said}\n- *{STAGE}*: `python -m strongscale.data.cubes` on all "
        "these scans, as the workflow runs it, start and imports and writing included.",
        how=f"{num_scans} artificial scans in LUNA16's form ({size} voxels of 16 bits, {megabytes:.0f} MB each, spacing "
        f"0.7 × 0.7 × 1.25 mm, every second one stored turned round) with {num_nodules} nodules. Contenders take turns, each "
        "in a fresh process; the first round is thrown away. The time is of the work alone, from opening the first file to "
        "having the last cube, without imports, divided by the number of nodules. Twice a turn: with the files read into the "
        "system's cache, and *from disk*, after they were dropped from it. Peak memory is the process's largest resident "
        "size (pages of a mapped file count), with what the imports hold; *above imports* is without. Others window only "
        "the cubes they cropped, which is less work than windowing the scan first.",
        caveats=CAVEATS,
    )


def main(arguments: list[str]) -> None:
    """Measure, and write cubes.md and cubes.csv."""
    parser = frame.parser("cubes", main.__doc__, repeats=5)
    parser.add_argument("--scans", type=int, default=4, help="each takes about 0.5 GB of disk, in three forms")
    options = parser.parse_args(arguments)
    shape_ZYX = QUICK_SHAPE_ZYX if options.quick else SHAPE_ZYX
    output = frame.folder_of(options)
    facts = frame.machine(PACKAGES)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_scans(folder, options.scans, shape_ZYX)
        num_nodules = sum(len(points) for points in find_nodules(folder).values())
        turns = contenders(folder, num_nodules)
        names = [name for name in turns if name in CONTENDERS]
        summaries = frame.summarise(frame.take_turns(turns, options.repeats))
        table = differences(folder, names)
    command = f"python -m benchmarks.cubes --scans {options.scans} --repeats {options.repeats}"
    text = page(names, command + " --quick" * options.quick, options.scans, num_nodules, shape_ZYX)
    extra = f"## Aims\n\n{verdict(summaries)}\n\n## Are they the same cubes?\n\n{SAME}\n\n{table}"
    frame.write(output, "cubes", replace(text, extra=extra), summaries, facts)


if __name__ == "__main__":
    run(main)
