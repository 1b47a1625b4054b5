"""Where is the nodule: its samples, made of a data set with masks; the U-Net; its loss; Dice by nodule."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import write_cell, write_dataset
from masked_fixtures import TINY, make_samples, write_masked
from own_parts_fixtures import LINES, cell_of, trained

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.schema import build
from strongscale.models.unet.network import UNet
from strongscale.tasks.base import Task
from strongscale.tasks.masks.constant import best_map, loss_of_map
from strongscale.tasks.masks.losses import dice_by_nodule, overlap_and_size, soft_dice_and_cross_entropy
from strongscale.training import collapse, samples


@pytest.fixture(scope="module")
def nodules(tmp_path_factory):
    """12 balls for training and 5 for validation, in cubes of 8³ voxels."""
    return write_masked(tmp_path_factory.mktemp("masked") / "balls")


def of(tensors, split):
    return [tensors[f"{split}/{place:03d}"] for place in range(3)]


# --- samples


def test_in_two_dimensions_samples_are_all_slices_through_a_nodule(nodules, tmp_path):
    _, folder = make_samples(tmp_path, nodules)
    cubes, masks = np.load(nodules / "cubes.npy"), np.load(nodules / "masks.npy")
    images, truth, numbers = of(safetensors.torch.load_file(folder / "samples.safetensors"), "validation")
    expected = [(n, z) for n in range(12, 17) for z in range(8) if masks[n, z].any()]
    assert numbers.tolist() == [n for n, _ in expected]
    assert torch.equal(images[:, 0], torch.from_numpy(np.stack([cubes[place] for place in expected])))
    assert torch.equal(truth[:, 0], torch.from_numpy(np.stack([masks[place] for place in expected])))


def test_in_three_dimensions_samples_are_the_cubes(nodules, tmp_path):
    _, folder = make_samples(tmp_path, nodules, dimensions=3)
    images, truth, numbers = of(safetensors.torch.load_file(folder / "samples.safetensors"), "training")
    assert torch.equal(images[:, 0], torch.from_numpy(np.load(nodules / "cubes.npy")[:12]))
    assert torch.equal(truth[:, 0], torch.from_numpy(np.load(nodules / "masks.npy")[:12]))
    assert numbers.tolist() == list(range(12))


def test_the_dice_of_the_best_constant_answer_stands_beside_its_loss(nodules, tmp_path):
    """The same blob for every sample, scored by hand."""
    _, folder = make_samples(tmp_path, nodules)
    tensors = safetensors.torch.load_file(folder / "samples.safetensors")
    masks = of(tensors, "training")[1]
    answer = torch.from_numpy(best_map(masks.flatten(1).numpy())).view(8, 8) > 0.5
    _, truth, numbers = of(tensors, "validation")
    dice = []
    for nodule in numbers.unique():
        own = truth[numbers == nodule][:, 0] > 0
        dice.append(float(2 * (own & answer).sum() / (own.sum() + len(own) * answer.sum())))
    assert read_json(folder / "dataset.json")["constant_measures"]["dice"] == pytest.approx(np.mean(dice))
    assert 0.2 < np.mean(dice) < 0.95


def test_samples_tell_of_what_data_set_they_were_made(nodules, tmp_path):
    _, folder = make_samples(tmp_path, nodules)
    told = read_json(folder / "dataset.json")
    assert told["provenance"] == "samples of the task segmentation, of balls"
    assert told["made_of"] == {"hash": read_json(nodules / "dataset.json")["hash"], "provenance": "balls"}


def test_without_a_data_set_there_are_no_samples(tmp_path):
    with pytest.raises(UserError, match="--dataset: needed for task 'segmentation': the folder of the data set"):
        samples.main(["--task", json.dumps(TINY), "--output", str(tmp_path / "samples")])
    assert not (tmp_path / "samples").exists()


def test_a_task_that_brings_its_samples_takes_no_data_set(nodules, tmp_path):
    with pytest.raises(UserError, match="--dataset: not allowed with task 'digits', which brings its own samples"):
        samples.main(["--task", '"digits"', "--dataset", str(nodules), "--output", str(tmp_path / "samples")])


def test_a_data_set_without_masks_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a data set without masks; set cubes.masks: true for it and run again"):
        make_samples(tmp_path, write_dataset(tmp_path / "plain"))


def test_sides_that_cannot_be_halved_so_often_are_refused_and_nothing_is_written(nodules, tmp_path):
    with pytest.raises(
        UserError, match=r"levels: 5 is not allowed for cubes of 8 voxels a side; allowed: .* divides 8"
    ):
        make_samples(tmp_path, nodules, levels=5)
    assert not (tmp_path / "results").exists()


# --- the network


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_there_is_a_logit_for_each_voxel(dimensions, levels):
    shape = (2, 1, *(8,) * dimensions)
    assert UNet(dimensions, 2, levels)(torch.rand(shape)).shape == shape


def test_each_level_has_twice_the_filters_and_two_convolutions_on_each_side():
    weights = UNet(2, 4, 3).state_dict()
    own = [tuple(weight.shape[:2]) for name, weight in weights.items() if weight.dim() == 4 and weight.shape[-1] == 3]
    assert own == [(4, 1), (4, 4), (8, 4), (8, 8), (16, 8), (16, 16), (8, 16), (8, 8), (4, 8), (4, 4)]


# --- the loss


def test_the_loss_is_cross_entropy_and_soft_dice():
    random = np.random.default_rng(1)
    logits, masks = random.normal(size=(3, 1, 4, 4)), (random.random((3, 1, 4, 4)) < 0.3).astype(np.uint8)
    found = soft_dice_and_cross_entropy(torch.from_numpy(logits), torch.from_numpy(masks))
    for logit, mask, loss in zip(logits, masks, found, strict=True):
        p = 1 / (1 + np.exp(-logit))
        cross_entropy = -np.mean(mask * np.log(p) + (1 - mask) * np.log(1 - p))
        dice = (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
        assert float(loss) == pytest.approx(cross_entropy + 1 - dice)


def test_nothing_where_there_is_nothing_costs_nothing():
    found = soft_dice_and_cross_entropy(torch.full((1, 1, 4, 4), -40.0), torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    assert float(found) == pytest.approx(0, abs=1e-6)


def test_a_sure_mistake_has_a_finite_loss_and_a_gradient():
    logits = torch.full((1, 1, 2, 2), -50.0, requires_grad=True)
    loss = soft_dice_and_cross_entropy(logits, torch.ones(1, 1, 2, 2, dtype=torch.uint8))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert (logits.grad < -0.1).all()


# --- the best constant


def masks_of(seed, count=7, voxels=2):
    return (np.random.default_rng(seed).random((count, voxels)) < (0.7, 0.2, 0.4)[:voxels]).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_map_is_that_of_a_search_through_all(seed):
    """With one mask more for the cross-entropy, half in the nodule."""
    masks = masks_of(seed)
    wanted = (masks.sum(0) + 0.5) / (len(masks) + 1)

    def costs(maps_MV):
        cross_entropy = -(wanted * np.log(maps_MV) + (1 - wanted) * np.log(1 - maps_MV)).mean(1)
        dice = (2 * maps_MV @ masks.T + 1) / (maps_MV.sum(1, keepdims=True) + masks.sum(1) + 1)
        return cross_entropy - dice.mean(1)

    axis = np.linspace(0.002, 0.998, 250)
    every = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    found, best = costs(best_map(masks)[None]).item(), costs(every).min()
    assert best - 2e-5 < found <= best + 1e-9


def test_the_loss_of_a_map_is_the_mean_loss_of_answering_it():
    masks = masks_of(5, voxels=3)
    answer = np.array([0.7, 0.1, 0.4])
    logits = torch.from_numpy(np.log(answer / (1 - answer))).expand(len(masks), 3)
    expected = soft_dice_and_cross_entropy(logits, torch.from_numpy(masks)).mean()
    assert loss_of_map(answer, masks) == pytest.approx(float(expected))


@pytest.mark.parametrize("answer", [1e-4, 0.5, 1 - 1e-4], ids=["nothing", "perhaps", "all"])
def test_no_uniform_answer_is_better_on_the_training_samples(nodules, answer):
    masks = np.load(nodules / "masks.npy")[:12].reshape(12, -1)
    assert loss_of_map(best_map(masks), masks) < loss_of_map(np.full(masks.shape[1], answer), masks)


def test_the_best_map_is_the_same_each_time_and_leaves_no_voxel_impossible(nodules):
    masks = np.load(nodules / "masks.npy")[:12].reshape(12, -1)
    found = best_map(masks)
    assert np.array_equal(found, best_map(masks))
    assert found.min() > 0
    assert found[~masks.any(0)].max() < 0.05


# --- measures


def test_dice_is_that_of_a_nodule_and_not_the_mean_of_its_slices():
    logits = torch.tensor([[1.0, 1, -1, -1], [1, -1, -1, -1], [-1, -1, 1, 1]]).view(3, 1, 2, 2)
    masks = torch.tensor([[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.uint8).view(3, 1, 2, 2)
    found = dice_by_nodule(overlap_and_size(logits, masks), torch.tensor([7, 7, 9]))
    assert found.tolist() == pytest.approx([2 * 2 / (3 + 4), 1.0])  # by slices: 0.8, 0 and 1


def test_an_empty_answer_to_an_empty_mask_is_right():
    measured = overlap_and_size(torch.full((1, 1, 2, 2), -1.0), torch.zeros(1, 1, 2, 2))
    assert dice_by_nodule(measured, torch.tensor([0])).tolist() == [1.0]


def test_outputs_that_differ_in_logits_alone_have_collapsed(nodules, tmp_path):
    """Far beyond any doubt a logit may still depend on its input, but no answer does."""
    task, folder = make_samples(tmp_path, nodules)
    validation = tuple(of(safetensors.torch.load_file(folder / "samples.safetensors"), "validation"))
    sure = torch.nn.Module()
    sure.forward = lambda images: 3 * images - 60
    assert not collapse.ignores_input(sure, validation, 4)
    assert collapse.ignores_input(sure, validation, 4, task.outputs)


# --- runs


def cell(tmp_path, nodules, strategy="strong", workers=1, name="tiny", **settings):
    parameters = settings.pop("parameters", {})
    task, folder = make_samples(tmp_path, nodules, **parameters)
    return write_cell(tmp_path, folder, strategy, workers, task=task, name=name, **settings)


def test_a_unet_learns_and_its_result_tells_how_dice_is_spread(nodules, tmp_path):
    folder = cell(tmp_path, nodules, batch_size=8, learning_rate=0.02, max_epochs=30, parameters={"filters": 4})
    result = trained(folder)
    assert result["final_validation_loss"] < 0.6 * result["constant_loss"]
    told = result["distributions"]["dice"]
    assert {"tasks/segmentation.py", "tasks/masks/losses.py", "models/unet/network.py"} <= result["code"].keys()
    assert list(result["measures"]) == ["dice"]
    assert told["count"] == 5
    assert 0.6 < told["lower_quartile"] <= told["median"] <= told["upper_quartile"] <= 1


def test_a_task_without_groups_has_no_distribution(tmp_path):
    result = trained(cell_of(tmp_path, "digits", max_epochs=1, evaluation_chunk=40))
    assert set(result["measures"]) == {"accuracy"}
    assert "distributions" not in result


def test_one_nodule_in_three_dimensions_is_one_sample(nodules, tmp_path):
    result = trained(cell(tmp_path, nodules, max_epochs=1, parameters={"dimensions": 3}))
    assert result["num_training"] == 12
    assert result["distributions"]["dice"]["count"] == 5


def test_groups_that_are_no_row_of_numbers_are_refused(own, tmp_path):
    text = LINES + "\n        def of_groups(self, measured, samples):\n            return {'worst': 1.0}\n"
    with pytest.raises(UserError, match=r"its measure worst is a float; allowed: one number a group"):
        samples.make(build(Task, own("lines.py", text), "task"), tmp_path / "samples")
