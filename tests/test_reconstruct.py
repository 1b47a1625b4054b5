"""Reconstructions: two typical ones for the figure, or any one cube as NIfTI in its place in the patient."""

import subprocess
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from conftest import TINY_MODEL, environment, write_cell, write_dataset

from strongscale.common.errors import UserError
from strongscale.models.deepdensity import DeepDensity
from strongscale.synthesis import reconstruct


@pytest.fixture
def cell(tmp_path):
    """A cell with untrained weights, on a data set whose manifest says where each cube lies."""
    made = write_dataset(tmp_path / "results" / "datasets" / "placed", num_training=7, num_validation=4)
    table = pd.read_csv(made / "manifest.csv").assign(x_mm=np.arange(11.0), y_mm=2.0, z_mm=3.0)
    table.to_csv(made / "manifest.csv", index=False)
    folder = write_cell(tmp_path, made, "sequential", batch_size=4)
    model = TINY_MODEL.create(8)
    model.initialise(torch.Generator().manual_seed(0))
    safetensors.torch.save_file(model.state_dict(), folder / "weights.safetensors")
    return folder


def cubes_of(cell):
    return np.load(cell / reconstruct.read_settings(cell).dataset / "cubes.npy")


@pytest.mark.parametrize("row", [2, 9])  # one of each split
def test_a_cube_and_its_reconstruction_lie_in_the_same_place(cell, tmp_path, row):
    reconstruct.main([str(cell), "--nifti", str(tmp_path / "pair"), "--row", str(row)])
    image, made = (nibabel.load(tmp_path / "pair" / f"{name}.nii.gz") for name in ("input", "reconstruction"))
    cube = cubes_of(cell)[row]
    model = reconstruct.trained_model(cell, reconstruct.read_settings(cell), 8)
    expected = reconstruct.reconstruct(model, torch.from_numpy(cube[None]), 1)[0].numpy()
    assert np.array_equal(np.asarray(image.dataobj), cube.T)
    assert np.array_equal(np.asarray(made.dataobj), expected.T)
    assert np.array_equal(image.affine, made.affine)
    assert np.allclose(image.affine @ [3.5, 3.5, 3.5, 1], [-row, -2, 3, 1])


def test_the_figures_two_nodules_come_from_validation(cell, tmp_path):
    reconstruct.main([str(cell), "--output", str(tmp_path / "two.npz")])
    with np.load(tmp_path / "two.npz") as file:
        assert file["input"].shape == file["reconstruction"].shape == (2, 8, 8, 8)
        validation = cubes_of(cell)[7:]
        assert all(any(np.array_equal(cube, own) for own in validation) for cube in file["input"])


def test_the_figures_nodules_need_no_reader_of_medical_images(cell, tmp_path):
    code = "import sys; sys.modules['nibabel'] = None; from strongscale.synthesis import reconstruct; reconstruct.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, str(cell), "--output", str(tmp_path / "two.npz")]
    subprocess.run(command, env=environment(), check=True, timeout=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to write"),
        (["--nifti", "pair"], "belong together"),
        (["--output", "two.npz", "--row", "1"], "belong together"),
        (["--nifti", "pair", "--row", "11"], "--row: 11 is not in .*; allowed: 0 to 10"),
        (["--nifti", "pair", "--row", "-1"], "--row: -1 is not in .*; allowed: 0 to 10"),
    ],
)
def test_options_that_say_too_little_or_too_much_are_refused(cell, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        reconstruct.main([str(cell), *options])
    assert not (tmp_path / "pair").exists()
    assert not (tmp_path / "two.npz").exists()


def test_slices_are_no_nifti(make_cell, tmp_path):
    folder = make_cell("sequential", model=DeepDensity(dimensions=2, components=4, filters=(4,), kernels=(3,)))
    with pytest.raises(UserError, match=r"model\.dimensions is 2 .*; 3 are needed"):
        reconstruct.main([str(folder), "--nifti", str(tmp_path / "pair"), "--row", "0"])


@pytest.mark.parametrize("damage", ["torn", "of another model"])
def test_weights_that_arent_the_models_are_named(cell, tmp_path, damage):
    path = cell / "weights.safetensors"
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        safetensors.torch.save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"weights\.safetensors: not the weights of this cell's model"):
        reconstruct.main([str(cell), "--output", str(tmp_path / "two.npz")])
