"""Draw new nodules from a trained cell: `python -m strongscale.synthesis <cell folder> --settings <json> --output <folder>`.

The training nodules' numbers are recombined and perturbed, rendered by the density layer, and checked: may they be
used (gate.py), and are they like the data set's cubes, and like what the model makes of these?
"""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from strongscale.common import style
from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import atomic, read_json, write_json, write_text
from strongscale.common.schema import build
from strongscale.data.dataset import Samples, central_section
from strongscale.data.inspect import cube_affine, voxel_sizes_mm
from strongscale.data.scans.nifti import write_nifti
from strongscale.models.density.network import DeepDensityNetwork
from strongscale.recovery.finished import read_settings
from strongscale.settings.cells import CellSettings
from strongscale.settings.config import NewNodules
from strongscale.synthesis import figures, gate, likeness, novelty
from strongscale.synthesis.distances import distinct, evenly
from strongscale.synthesis.gate import Gate
from strongscale.synthesis.likeness import Likeness
from strongscale.synthesis.novelty import Nodules, Novelty
from strongscale.synthesis.reconstruct import reconstruct, trained_model
from strongscale.synthesis.sampling import Drawn, draw
from strongscale.tasks.autoencoding import msle
from strongscale.training.collapse import ignores_input
from strongscale.training.samples import read_nodules

log = logging.getLogger(__name__)

Cubes = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Parents:
    """The distinct training nodules: cubes (N, W, ..., W), and where each comes from."""

    cubes: NDArray[np.float32]
    rows: NDArray[np.int64]
    """Of the data set's manifest."""
    seriesuid: NDArray[np.str_]
    voxel_mm: NDArray[np.float64]


def in_rows(cubes: Cubes) -> Cubes:
    """A row of voxels a cube: (N, W, ..., W) -> (N, V)."""
    return cubes.reshape(len(cubes), -1)


def read_parents(folder: Path, cell: CellSettings, samples: Samples) -> Parents:
    """The training nodules of a cell, each once even where the data set repeats one."""
    cubes = central_section(samples.training, cell.nodule_model.dimensions)
    dataset = folder / cell.dataset
    manifest = pd.read_csv(dataset / "manifest.csv", dtype={"seriesuid": str})
    positions = distinct(in_rows(cubes))
    if len(positions) < 2:
        raise UserError(f"{dataset}: fewer than two different training nodules; new ones need at least two")
    rows = np.flatnonzero(manifest["split"] == "training")[positions]
    return Parents(
        cubes=cubes[positions],
        rows=rows,
        seriesuid=manifest["seriesuid"].to_numpy(dtype=str)[rows],
        voxel_mm=voxel_sizes_mm(dataset, manifest)[rows],
    )


@torch.no_grad()
def encode(model: DeepDensityNetwork, cubes: NDArray[np.float32], chunk: int) -> NDArray[np.float32]:
    """What the heads say of each cube: (N, H)."""
    parts = torch.from_numpy(cubes.copy()).split(chunk)
    return torch.cat([model.encode(part) for part in parts]).numpy()


@torch.no_grad()
def render(model: DeepDensityNetwork, numbers_NxH: NDArray[np.float32], chunk: int) -> NDArray[np.float32]:
    """The cubes (N, W, ..., W) that such numbers describe, in [0, 1] as the data are."""
    parts = torch.from_numpy(numbers_NxH).split(chunk)
    return torch.cat([model.decode(part) for part in parts]).clamp(0, 1).numpy()


@torch.no_grad()
def fault_of(model: DeepDensityNetwork, samples: Samples, chunk: int) -> str:
    """Why what this model draws says nothing of nodules: it has learnt less than one output for all. Else nothing."""
    cubes = torch.from_numpy(samples.validation.copy())
    if ignores_input(model, (cubes,), chunk):
        return "whatever the input, the model's output is the same: it has collapsed"
    loss = float(msle(reconstruct(model, cubes, chunk), cubes).double().mean())
    if loss < samples.constant_loss:
        return ""
    return (
        f"the model has learnt less than the best constant output, which has a validation loss of "
        f"{samples.constant_loss:.4g}, and the model {loss:.4g}: train it for longer, or on more data"
    )


def make(
    model: DeepDensityNetwork, parents: Parents, settings: NewNodules, chunk: int, at_least: int = 0
) -> tuple[Drawn, Cubes, Cubes]:
    """New nodules' origin and cubes (M, W, ..., W), and the reconstructions of the training ones (N, W, ..., W).

    The first are those asked for, whatever `at_least` adds to them.
    """
    numbers_NxH = encode(model, parents.cubes, chunk)
    if not np.isfinite(numbers_NxH).all():
        raise UserError("the model's numbers of its training nodules aren't finite; take a cell that didn't diverge")
    reconstructions = render(model, numbers_NxH, chunk)
    count = max(settings.count, at_least)
    drawn = draw(numbers_NxH, count, settings.perturbation, settings.seed)
    cubes = render(model, drawn.numbers_MxH, chunk)
    if not np.isfinite(cubes).all():
        raise UserError(f"perturbation: {settings.perturbation:g} makes numbers beyond float32; lower it")
    return drawn, cubes, reconstructions


def compare(
    model: DeepDensityNetwork, own: Cubes, new: Cubes, parents: Parents, reconstructions: Cubes, chunk: int
) -> tuple[Likeness, Cubes]:
    """How like the validation cubes (N, W, ..., W) as many new ones are, and what the model makes of those cubes."""
    own_reconstructions = render(model, encode(model, own, chunk), chunk)
    sets = {
        likeness.NEW: new[: len(own)],
        likeness.OWN: own,
        likeness.RECONSTRUCTED: own_reconstructions,
        likeness.OTHER_OWN: evenly(parents.cubes, len(own)),
        likeness.OTHER_RECONSTRUCTED: evenly(reconstructions, len(own)),
    }
    return likeness.check(sets), own_reconstructions


def describe(drawn: Drawn, parents: Parents, found: Novelty) -> pd.DataFrame:
    """nodules.csv: a row a new nodule."""
    between_mm = parents.voxel_mm[drawn.second] + drawn.weight * (
        parents.voxel_mm[drawn.first] - parents.voxel_mm[drawn.second]
    )
    return pd.DataFrame(
        {
            "number": np.arange(1, len(drawn.weight) + 1),
            "first_seriesuid": parents.seriesuid[drawn.first],
            "first_row": parents.rows[drawn.first],
            "second_seriesuid": parents.seriesuid[drawn.second],
            "second_row": parents.rows[drawn.second],
            "weight_of_first": drawn.weight,
            "voxel_mm": between_mm,
            "distance_to_training": found.distances["new_to_training"],
            "nearest_training_row": parents.rows[found.nearest_training],
            "distance_to_reconstruction": found.distances["new_to_reconstruction"],
            "nearest_reconstruction_row": parents.rows[found.nearest_reconstruction],
            "verdict": found.verdicts,
        }
    )


def write_niftis(folder: Path, cubes_NDHW: NDArray[np.float32], voxel_mm: NDArray[np.float64]) -> None:
    """A file a nodule, its centre at the origin; those of an earlier, larger draw are removed."""
    paths = [folder / f"nodule_{number:04d}.nii.gz" for number in range(1, len(cubes_NDHW) + 1)]
    for path, cube, side_mm in zip(paths, cubes_NDHW, voxel_mm, strict=True):
        write_nifti(path, cube, cube_affine(np.zeros(3), cube.shape[-1], float(side_mm)))
    for path in set(folder.glob("nodule_*.nii.gz")) - set(paths):
        path.unlink()


def main(arguments: list[str]) -> None:
    """Draw new nodules from a trained cell, and check that they are new."""
    parser = argparse.ArgumentParser(prog="strongscale.synthesis", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    parser.add_argument("--settings", required=True, help="the study's `new_nodules`, as JSON")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    options = parser.parse_args(arguments)
    settings = build(NewNodules, json.loads(options.settings), "new_nodules")
    folder, output = options.folder, options.output
    cell = read_settings(folder)
    if cell.nodule_model.dimensions != 3:
        raise UserError(f"{folder}: model.dimensions is {cell.nodule_model.dimensions}; new nodules need a model of 3")
    torch.set_num_threads(cell.training.threads)
    samples = read_nodules(folder, cell)
    parents = read_parents(folder, cell, samples)
    model = trained_model(folder, cell, parents.cubes.shape[-1])
    if not isinstance(model, DeepDensityNetwork):
        raise UserError(f"{folder}: model.kind is {cell.nodule_model.kind}; new nodules need deepdensity's numbers")
    chunk = cell.training.evaluation_chunk
    own = samples.validation[distinct(in_rows(samples.validation))]
    drawn, all_cubes, reconstructions = make(model, parents, settings, chunk, at_least=len(own))
    alike, own_reconstructions = compare(model, own, all_cubes, parents, reconstructions, chunk)
    drawn, cubes_NDHW = drawn.first_ones(settings.count), all_cubes[: settings.count]
    compared = Nodules(*map(in_rows, (cubes_NDHW, parents.cubes, reconstructions, own, own_reconstructions)))
    found = novelty.check(compared)
    judged = gate.check(compared, found, fault_of(model, samples, chunk))
    rows = describe(drawn, parents, found)
    with atomic(output / "nodules.npy") as path:
        np.save(path, cubes_NDHW, allow_pickle=False)
    with atomic(output / "nodules.csv") as path:
        rows.to_csv(path, index=False)
    write_niftis(output / "nifti", cubes_NDHW, rows["voxel_mm"].to_numpy())
    source = read_json(folder / cell.dataset / "dataset.json")["provenance"]
    nodules = likeness.nodules_of(source)
    label = (
        f"{cell.study}: {cell.title}. Data: {source}. {settings.count} new nodules, perturbation "
        f"{settings.perturbation:g}, seed {settings.seed}."
    )
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells each letter it puts into a PDF
    with style.theme():
        style.save(figures.montage(own, own_reconstructions, cubes_NDHW, nodules), output, "montage", label)
        style.save(figures.novelty_figure(found, judged), output, "novelty", label)
        style.save(figures.likeness_figure(alike, nodules), output, "likeness", label)
    write_report(output, judged, found, alike, nodules, label)


def write_report(output: Path, judged: Gate, found: Novelty, alike: Likeness, nodules: str, label: str) -> None:
    """The numbers: likeness.csv, and the page of all checks for a reader and for a program."""
    with atomic(output / "likeness.csv") as path:
        likeness.measures_table(alike).to_csv(path, index=False)
    parts, distances = (
        rows.to_markdown(index=False, disable_numparse=True) for rows in (gate.table(judged), novelty.table(found))
    )
    page = [
        "# New nodules",
        label,
        "## May they be used?",
        gate.in_words(judged),
        parts,
        gate.HOW,
        "## Are they new?",
        novelty.in_words(found),
        distances,
        likeness.page(alike, nodules, judged.fault),
    ]
    write_text(output / "novelty.md", "\n\n".join(page) + "\n")
    summary = gate.summary(judged) | novelty.summary(found)
    write_json(output / "novelty.json", summary | {"likeness": likeness.summary(alike, nodules, judged.fault)})
    log.log(logging.INFO if judged.outcome == gate.PASSES else logging.WARNING, "%s", gate.in_words(judged))
    log.info("%s", likeness.in_words(alike, nodules, judged.fault))


if __name__ == "__main__":
    run(main)
