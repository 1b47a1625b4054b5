"""New nodules: drawn alike from the same seed, true to the model's bounds, in the data's form, and judged fairly."""

import json
import re
from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from conftest import TINY_MODEL, write_cell, write_dataset

from strongscale.common import style
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.data import dataset
from strongscale.models.deepdensity import DeepDensity
from strongscale.models.density import mixture
from strongscale.settings.config import NewNodules
from strongscale.synthesis import __main__ as synthesis
from strongscale.synthesis import distances, gate, novelty, telling_apart
from strongscale.synthesis.sampling import LEAST_WEIGHT, draw

CODES = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """What other tests look at, in the least that it takes."""
    monkeypatch.setattr(style, "FORMATS", ("png",))
    monkeypatch.setitem(style._SETTINGS, "savefig.dpi", 30)
    monkeypatch.setattr(telling_apart, "PERMUTATIONS", 10)


def synthesise(folder, output, **settings):
    synthesis.main([str(folder), "--settings", json.dumps(settings), "--output", str(output)])
    return read_json(output / "novelty.json")


# --- drawing


def test_the_same_seed_draws_the_same_nodules_and_another_seed_others():
    first, again, other = (draw(CODES, 5, 0.1, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.numbers_MxH, again.numbers_MxH)
    assert not np.array_equal(first.numbers_MxH, other.numbers_MxH)


def test_more_nodules_begin_with_the_same_ones():
    few, many = draw(CODES, 5, 0.1, 1), draw(CODES, 50, 0.1, 1).first_ones(5)
    for name, array in vars(few).items():
        assert np.array_equal(array, vars(many)[name])


def test_unperturbed_a_nodule_lies_between_its_parents():
    drawn = draw(CODES, 40, 0.0, 1)
    weight = drawn.weight[:, None]
    assert np.allclose(drawn.numbers_MxH, weight * CODES[drawn.first] + (1 - weight) * CODES[drawn.second], atol=1e-6)
    assert drawn.weight.min() >= LEAST_WEIGHT
    assert drawn.weight.max() <= 1 - LEAST_WEIGHT
    assert not (drawn.first == drawn.second).any()


def test_the_second_parent_is_among_the_nearest_of_the_first():
    drawn = draw(CODES, 40, 0.0, 1, num_neighbours=3)
    scaled = CODES / CODES.std(axis=0)
    apart = np.linalg.norm(scaled[:, None] - scaled[None], axis=-1)
    ranks = apart.argsort(axis=1).argsort(axis=1)
    assert set(ranks[drawn.first, drawn.second]) == {1, 2, 3}


def test_the_perturbation_is_in_deviations_of_each_number_over_the_real_nodules():
    training = CODES * np.arange(12)  # the first number is the same for all
    drawn = draw(training, 4000, 0.5, 1)
    unperturbed = draw(training, 4000, 0.0, 1)
    added = (drawn.numbers_MxH - unperturbed.numbers_MxH).std(axis=0)
    assert added[0] == 0
    assert np.allclose(added[1:] / training.std(axis=0)[1:], 0.5, atol=0.03)


# --- rendering


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_decoding_what_was_encoded_is_the_forward_pass_bit_for_bit(dimensions):
    model = replace(TINY_MODEL, dimensions=dimensions).create(8)
    model.initialise(torch.Generator().manual_seed(0))
    cubes = torch.rand(3, *(8,) * dimensions, generator=torch.Generator().manual_seed(1))
    numbers = model.decoder(model.encoder(cubes.unsqueeze(1)))
    by_hand = mixture.density(mixture.coefficients(*model.parameters_of_mixture(numbers)), model.monomials)
    assert torch.equal(model(cubes), by_hand.view_as(cubes))
    assert torch.equal(model(cubes), model.decode(model.encode(cubes)))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_any_numbers_make_cubes_of_the_datas_form_in_0_to_1(dimensions):
    model = DeepDensity(dimensions=dimensions, components=4, filters=(4,), kernels=(3,)).create(8)
    numbers = 100 * np.random.default_rng(0).normal(size=(5, model.decoder.out_features)).astype(np.float32)
    cubes = synthesis.render(model, numbers, chunk=2)
    assert cubes.shape == (5, *(8,) * dimensions)
    assert cubes.dtype == np.float32
    assert cubes.min() >= 0
    assert 0 < cubes.max() <= 1


# --- distances and the verdict


def test_blocks_of_matrix_products_find_the_same_neighbours_as_all_pairs(monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", 7)
    others = np.random.default_rng(1).normal(size=(20, 12)).astype(np.float32)
    apart = np.sqrt(((CODES[:, None].astype(float) - others[None]) ** 2).mean(-1))
    found, positions = distances.nearest(CODES, others)
    assert np.allclose(found, apart.min(axis=1))
    assert np.array_equal(positions, apart.argmin(axis=1))
    own = np.sqrt(((CODES[:, None].astype(float) - CODES[None]) ** 2).mean(-1)) + np.diag([np.inf] * 30)
    assert np.allclose(distances.nearest(CODES, CODES, same_order=True)[0], own.min(axis=1))


def test_a_copy_is_at_distance_0_in_spite_of_rounding():
    bright = np.random.default_rng(1).uniform(0.9, 1, size=(10, 4096)).astype(np.float32)
    assert np.array_equal(distances.nearest(bright, bright)[0], np.zeros(10))


def test_a_repeated_cube_counts_once():
    assert distances.distinct(CODES[[3, 1, 3, 2, 1]]).tolist() == [0, 1, 3]


# --- the stage


def test_a_trained_cell_gives_nodules_with_their_origin_and_a_verdict(trained, tmp_path, tiny_dataset):
    summary = synthesise(trained, tmp_path / "new", count=12)
    made = tmp_path / "new"
    cubes = np.load(made / "nodules.npy")
    table = pd.read_csv(made / "nodules.csv")
    assert cubes.shape == (12, 8, 8, 8)
    assert cubes.dtype == np.float32
    assert table["number"].tolist() == list(range(1, 13))
    manifest = pd.read_csv(tiny_dataset / "manifest.csv")
    assert (manifest.loc[table["first_row"], "split"] == "training").all()
    assert (manifest.loc[table["second_row"], "seriesuid"].to_numpy() == table["second_seriesuid"]).all()
    own = np.load(tiny_dataset / "cubes.npy")[table["nearest_training_row"]]
    assert np.allclose(np.sqrt(((cubes - own) ** 2).mean((1, 2, 3))), table["distance_to_training"], atol=1e-6)
    assert summary["verdict"] in (made / "novelty.md").read_text()
    assert (made / "montage.png").stat().st_size > 0
    assert (made / "novelty.png").stat().st_size > 0


def test_the_same_settings_write_the_same_bytes(trained, tmp_path):
    for name in ("first", "again"):
        synthesise(trained, tmp_path / name, count=3)
    for name in ("nodules.npy", "nodules.csv", "novelty.json", "nifti/nodule_0003.nii.gz", "montage.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_each_nodule_is_a_nifti_around_the_origin(trained, tmp_path):
    synthesise(trained, tmp_path / "new", count=2)
    image = nibabel.load(tmp_path / "new" / "nifti" / "nodule_0002.nii.gz")
    assert np.allclose(image.affine @ [3.5, 3.5, 3.5, 1], [0, 0, 0, 1])
    assert np.allclose(np.abs(np.diag(image.affine)), 1)
    assert np.array_equal(np.asarray(image.dataobj), np.load(tmp_path / "new" / "nodules.npy")[1].T)


def test_fewer_nodules_leave_none_of_an_earlier_draw(trained, tmp_path):
    for count in (3, 1):
        synthesise(trained, tmp_path / "new", count=count)
    assert [path.name for path in (tmp_path / "new" / "nifti").iterdir()] == ["nodule_0001.nii.gz"]


def test_without_recombination_and_perturbation_the_check_finds_copies(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis, "draw", lambda *arguments: draw(*arguments, num_neighbours=0))
    summary = synthesise(trained, tmp_path / "new", perturbation=0)
    assert summary["share_of_copies"] == 1
    assert not summary["passes"]


def test_a_perturbation_of_ten_deviations_is_found_far(trained, tmp_path):
    summary = synthesise(trained, tmp_path / "new", perturbation=10)
    assert summary["share_of_far"] > 0.5
    assert not summary["passes"]


def test_cubes_repeated_in_the_data_set_dont_hide_copies(trained, tmp_path, tiny_dataset, monkeypatch):
    folder = tmp_path / "repeated"
    cubes, table = np.load(tiny_dataset / "cubes.npy"), pd.read_csv(tiny_dataset / "manifest.csv")
    order = np.repeat(np.arange(len(cubes)), 2)
    cubes, table = cubes[order], table.iloc[order]
    folder.mkdir()
    np.save(folder / "cubes.npy", cubes)
    table.to_csv(folder / "manifest.csv", index=False)
    summary = read_json(tiny_dataset / "dataset.json")
    write_json(folder / "dataset.json", summary | {"hash": dataset.digest(cubes, table["split"].to_numpy(dtype=str))})
    cell = read_json(trained / "cell.json")
    hashed = read_json(folder / "dataset.json")["hash"]
    write_json(trained / "cell.json", cell | {"dataset": str(folder), "dataset_hash": hashed})
    # The least of perturbations, so that a copy is not at distance 0: twins among the peers would be nearer than it.
    monkeypatch.setattr(synthesis, "draw", lambda *arguments: draw(*arguments, num_neighbours=0))
    summary = synthesise(trained, tmp_path / "new", perturbation=0.001)
    assert summary["num_training"] == 50
    assert summary["share_of_copies"] == 1


def test_parents_with_voxels_of_their_own_share_them(trained, tmp_path, tiny_dataset):
    cell = synthesis.read_settings(trained)
    training = synthesis.read_parents(trained, cell, synthesis.read_nodules(trained, cell))
    own = replace(training, voxel_mm=np.linspace(0.5, 2, len(training.rows)))
    drawn, cubes, reconstructions = synthesis.make(
        synthesis.trained_model(trained, cell, 8), own, NewNodules(count=5), chunk=8
    )
    sets = (cubes, own.cubes, reconstructions, own.cubes, reconstructions)
    found = novelty.check(novelty.Nodules(*map(synthesis.in_rows, sets)))
    expected = drawn.weight * own.voxel_mm[drawn.first] + (1 - drawn.weight) * own.voxel_mm[drawn.second]
    assert np.allclose(synthesis.describe(drawn, own, found)["voxel_mm"], expected)


def test_a_model_of_slices_cant_make_nodules(make_cell, tmp_path):
    folder = make_cell("sequential", model=replace(TINY_MODEL, dimensions=2))
    with pytest.raises(UserError, match=r"model\.dimensions is 2; new nodules need a model of 3"):
        synthesise(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_cell_without_weights_is_named(make_cell, tmp_path):
    with pytest.raises(UserError, match=r"weights\.safetensors: no such file; train the cell first"):
        synthesise(make_cell("sequential"), tmp_path / "new")


def test_a_diverged_cell_is_refused_before_anything_is_written(trained, tmp_path):
    path = trained / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["decoder.bias"][0] = torch.nan
    safetensors.torch.save_file(weights, path)
    with pytest.raises(UserError, match="take a cell that didn't diverge"):
        synthesise(trained, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "the model's output is the same"), (-1.0, "learnt less than the best")]
)
def test_a_model_that_learnt_less_than_a_constant_never_passes(trained, tmp_path, monkeypatch, share, words):
    path = trained / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["decoder.weight"] *= share
    safetensors.torch.save_file(weights, path)
    monkeypatch.setattr(gate, "CRITERIA", ())
    summary = synthesise(trained, tmp_path / "new")
    assert not summary["passes"]
    assert re.search(f"The check fails: .*({words})", summary["verdict"])


def test_one_training_nodule_is_too_few(tmp_path):
    made = write_dataset(tmp_path / "data" / "results" / "datasets" / "one", num_training=1)
    folder = write_cell(tmp_path, made, "sequential", batch_size=1)
    with pytest.raises(UserError, match="fewer than two different training nodules"):
        synthesise(folder, tmp_path / "new")
