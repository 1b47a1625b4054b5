"""A tiny data set with masks: balls of random place and size, a little brighter than the noise about them."""

import numpy as np
import pandas as pd

from strongscale.common.files import write_json
from strongscale.common.schema import build
from strongscale.data.dataset import digest
from strongscale.tasks.base import Task
from strongscale.training import samples

TINY = {"kind": "segmentation", "filters": 2, "levels": 2}


def write_masked(folder, num_training=12, num_validation=5, voxels=8, seed=0):
    """The folder, as the stage of data sets leaves it where `cubes.masks` is true."""
    random, count = np.random.default_rng(seed), num_training + num_validation
    axis = np.arange(voxels)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    centres = random.uniform(voxels / 2 - 1.5, voxels / 2 + 0.5, (count, 3, 1, 1, 1))
    radii = random.uniform(1.2, 2.8, (count, 1, 1, 1))
    masks = (((grid - centres) ** 2).sum(1) <= radii**2).astype(np.uint8)
    cubes = np.clip(0.2 + 0.5 * masks + 0.1 * random.standard_normal(masks.shape), 0, 1).astype(np.float32)
    split = ["training"] * num_training + ["validation"] * num_validation
    folder.mkdir(parents=True)
    np.save(folder / "cubes.npy", cubes)
    np.save(folder / "masks.npy", masks)
    names = [f"scan{number}" for number in range(count)]
    pd.DataFrame({"seriesuid": names, "split": split}).to_csv(folder / "manifest.csv", index=False)
    write_json(folder / "dataset.json", {"hash": digest(cubes, split, masks), "provenance": "balls"})
    return folder


def make_samples(root, nodules, **parameters):
    """The task, and the folder of its samples, made of a data set."""
    task = build(Task, TINY | parameters, "task")
    folder = root / "results" / "tiny" / "samples"
    samples.make(task, folder, nodules)
    return task, folder
