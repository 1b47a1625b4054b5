"""The page on two data sets side by side: the numbers of what paired nodules look like, and how hard they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from strongscale.common.output import number, percent
from strongscale.data.dataset import central_section, constant_loss, null_loss
from strongscale.data.quality.page import Section
from strongscale.data.resemblance.measures import Floats, distances, explained, interval, measure
from strongscale.data.resemblance.pairs import Side

COMPONENTS = (1, 2, 5, 10, 20, 50)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Group:
    """The pairs of a range of diameters; what is measured of them are sections in so many dimensions."""

    name: str
    sides: tuple[Side, Side]
    dimensions: int

    def section(self, side: Side) -> NDArray[np.float32]:
        """Whole cubes, or their central slices."""
        return central_section(side.cubes_NDHW, self.dimensions)

    def radii(self, side: Side) -> Floats:
        """The distance of each of its voxels from the centre."""
        shape = self.section(side).shape[1:]
        return distances(shape, side.manifest["voxel_mm"].to_numpy(dtype=float), side.diameters_mm)

    @cached_property
    def measures(self) -> dict[str, dict[str, Floats]]:
        """Every measure of both data sets, by their names."""
        return {side.name: measure(self.section(side), self.radii(side)) for side in self.sides}


def stratify(pairs: tuple[Side, Side], limits_mm: Sequence[float], dimensions: int) -> list[Group]:
    """All pairs between the outer limits, then those of each range; by the diameter of the first data set."""
    ranges = [(limits_mm[0], limits_mm[-1]), *zip(limits_mm, limits_mm[1:], strict=False)]
    groups = []
    for low, high in ranges[:1] if len(ranges) == 2 else ranges:
        rows = np.flatnonzero((pairs[0].diameters_mm >= low) & (pairs[0].diameters_mm < high))
        groups.append(Group(f"{low:g} to {high:g} mm", (pairs[0].take(rows), pairs[1].take(rows)), dimensions))
    return groups


def explained_by(side: Side, dimensions: int) -> dict[int, float]:
    """What principal components explain of its validation cubes, or of their slices."""
    sections = central_section(side.cubes_NDHW, dimensions)
    return explained(sections[side.is_in("training")], sections[side.is_in("validation")], COMPONENTS)


def sections(command: str, sides: Sequence[Side], groups: Sequence[Group]) -> list[Section]:
    """The whole page."""
    return [
        _opening(command, sides, groups),
        *(_looks(group) for group in groups),
        _intensities(groups),
        _hardness(groups),
    ]


def _opening(command: str, sides: Sequence[Side], groups: Sequence[Group]) -> Section:
    rows = [
        {
            "cubes": side.name,
            "in all": str(len(side.manifest)),
            "median diameter, mm": number(float(np.median(side.diameters_mm))),
            "voxels beyond the scan": percent(float(side.manifest["air_share"].mean())),
            **{f"pairs of {group.name}": _counts(group.sides[position]) for group in groups},
        }
        for position, side in enumerate(sides)
    ]
    shown = "central axial slices" if groups[0].dimensions == 2 else "whole cubes"
    return Section(
        "",
        [
            f"Made by `{command}`; not written by hand.",
            f"Cubes are paired by diameter (the same within a tenth, on the same side of the split), so that no difference is "
            f"one of sizes. Measured are {shown}; the losses are of slices and of cubes. Pairs are counted as training + "
            "validation. Voxels beyond the scan are air that nobody measured: where there are many, only slices count.",
        ],
        rows,
    )


def _counts(side: Side) -> str:
    return " + ".join(str(side.is_in(split).sum()) for split in ("training", "validation"))


def _looks(group: Group) -> Section:
    """Means over cubes, their difference, and how wide cubes differ from one another."""
    first, second = (side.name for side in group.sides)
    rows = []
    for name, ours in group.measures[first].items():
        theirs = group.measures[second][name]
        known = ~np.isnan(ours) & ~np.isnan(theirs)
        if not known.any():
            continue
        ours, theirs = ours[known], theirs[known]
        low, high = interval(theirs - ours)
        rows.append(
            {
                "of a cube": name,
                first: number(float(ours.mean())),
                second: number(float(theirs.mean())),
                "difference [95 %]": f"{theirs.mean() - ours.mean():+.4f} [{low:+.4f}, {high:+.4f}]",
                "in spreads": f"{(theirs.mean() - ours.mean()) / max(ours.std(), 1e-12):+.2f}",
                f"spread, {first}": number(float(ours.std())),
                f"spread, {second}": number(float(theirs.std())),
            }
        )
    sentence = (
        "Means over cubes; intensities from 0 to 1. The spread is the standard deviation between cubes, and the difference "
        "of the means is also given in spreads of the first. Its interval is of 2000 resamples of the pairs, taken as independent."
    )
    return Section(f"What nodules of {group.name} look like", [sentence], rows)


def _intensities(groups: Sequence[Group]) -> Section:
    rows = [
        {
            "cubes": f"{side.name}, {group.name}",
            **{f"{100 * share:g} %": number(float(value)) for share, value in zip(QUANTILES, values, strict=True)},
        }
        for group in groups
        for side in group.sides
        for values in [np.quantile(group.section(side), QUANTILES)]
    ]
    low, high = groups[0].sides[0].window_hu
    return Section("Quantiles of intensities", [f"0 is {low:g} HU, 1 is {high:g} HU."], rows)


def _hardness(groups: Sequence[Group]) -> Section:
    """Losses without input, and what straight lines explain."""
    rows = []
    for group in groups:
        for dimensions in (2, 3):
            for side in group.sides:
                cubes = central_section(side.cubes_NDHW, dimensions)
                training, validation = (cubes[side.is_in(split)] for split in ("training", "validation"))
                null, constant = null_loss(validation), constant_loss(validation, training)
                found = explained_by(side, dimensions)
                rows.append(
                    {
                        "cubes": f"{side.name}, {group.name}, {dimensions}-D",
                        "null loss": number(null),
                        "best constant": number(constant),
                        "ratio": number(constant / null),
                        **{f"{count} PC": percent(found[count]) if count in found else "" for count in COMPONENTS},
                    }
                )
    sentences = [
        "Losses of the validation cubes: predicting zero; the best constant output, fitted on the training cubes; their "
        "ratio. Then the share of the best constant's loss that a linear model with so many principal components "
        "(PC) takes away: of what it was fitted on the training cubes, judged on the validation cubes."
    ]
    return Section("How hard it is", sentences, rows)
