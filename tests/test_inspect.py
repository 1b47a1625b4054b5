"""A cube as NIfTI lies where it lay in the patient, with voxels of its own size."""

import nibabel
import numpy as np
import pandas as pd
import pytest

from strongscale.common.files import write_json
from strongscale.data import inspect

CENTRE_MM = [10.0, -20.0, 30.0]


@pytest.fixture
def made(tmp_path):
    """A data set of two cubes of 4³ voxels of 1.5 mm."""
    cubes = np.random.default_rng(0).uniform(size=(2, 4, 4, 4)).astype(np.float32)
    np.save(tmp_path / "cubes.npy", cubes)
    table = pd.DataFrame([["a", 0.0, 0.0, 0.0], ["b", *CENTRE_MM]], columns=["seriesuid", "x_mm", "y_mm", "z_mm"])
    table.to_csv(tmp_path / "manifest.csv", index=False)
    write_json(tmp_path / "dataset.json", {"voxel_mm": 1.5})
    return tmp_path


def written(folder, name="cube.nii.gz"):
    inspect.main([str(folder), "--row", "1", "--output", str(folder / name)])
    return nibabel.load(folder / name)


def test_voxels_have_the_data_sets_size(made):
    assert np.allclose(nibabel.affines.voxel_sizes(written(made).affine), 1.5)


def test_a_cubes_own_voxel_size_counts_before_the_data_sets(made):
    pd.read_csv(made / "manifest.csv").assign(voxel_mm=[0.5, 0.75]).to_csv(made / "manifest.csv", index=False)
    affine = written(made).affine
    assert np.allclose(nibabel.affines.voxel_sizes(affine), 0.75)
    assert np.allclose(affine @ [1.5, 1.5, 1.5, 1], [-10, 20, 30, 1])


@pytest.mark.parametrize("name", ["cube.nii", "cube.nii.gz"])
def test_a_voxel_holds_the_value_of_its_place(made, name):
    image = written(made, name)
    place_mm = np.array(CENTRE_MM) + 1.5 * np.array([0.5, -0.5, 1.5])  # x, y, z in LPS: voxel 2, 1, 3
    voxel = np.linalg.inv(image.affine) @ [-place_mm[0], -place_mm[1], place_mm[2], 1]
    i, j, k = np.rint(voxel[:3]).astype(int)
    assert image.get_fdata()[i, j, k] == np.load(made / "cubes.npy")[1][3, 1, 2]


def test_compressed_files_hold_no_clock_time(made):
    written(made)
    assert (made / "cube.nii.gz").read_bytes()[4:8] == bytes(4)
