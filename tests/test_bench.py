"""Benchmarks: turns, ratios, the page, and that all contenders give the same cubes."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import cubes, frame, learners, training, unet
from benchmarks.cutters import CONTENDERS, find_nodules, ours, scan_path
from benchmarks.plain_density import PlainDensity
from conftest import environment

from strongscale.common.errors import UserError
from strongscale.models.density.network import DeepDensityNetwork
from strongscale.training.loop import Trainer

PAGE = frame.Page(title="Title", compared="A and B.", how="So.", caveats=["Not much."], command="python -m it")


def turns_of(**times_s: list[float]) -> dict[str, list[frame.Figures]]:
    return {name: [{"time_s": time_s} for time_s in values] for name, values in times_s.items()}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    cubes.write_scans(folder, 2, (40, 64, 64))
    return folder


def test_contenders_take_turns_and_the_first_round_is_not_kept() -> None:
    order: list[str] = []

    def contender(name: str) -> frame.Figures:
        order.append(name)
        return {"time_s": float(len(order))}

    turns = frame.take_turns({"a": lambda: contender("a"), "b": lambda: contender("b")}, repeats=2)
    assert order == ["a", "b"] * 3
    assert turns == {"a": [{"time_s": 3.0}, {"time_s": 5.0}], "b": [{"time_s": 4.0}, {"time_s": 6.0}]}


def test_a_ratio_is_taken_within_a_round() -> None:
    ours_, other = frame.summarise(turns_of(ours=[1.0, 10.0, 2.0], other=[3.0, 20.0, 8.0]))
    assert ours_.quartiles == (1.5, 2.0, 6.0)
    assert other.ratios == (2.5, 3.0, 3.5)


def test_a_figure_that_the_first_contender_lacks_has_no_ratio() -> None:
    summaries = frame.summarise({"ours": [{"time_s": 1.0}], "other": [{"time_s": 2.0, "more": 3.0}]})
    assert [one.ratios is None for one in summaries] == [False, False, True]
    assert summaries[2].quartiles == (3.0, 3.0, 3.0)


def test_the_page_says_who_was_compared_and_the_ratio() -> None:
    summaries = frame.summarise(turns_of(ours=[1.0], other=[250.0]))
    text = frame.render(PAGE, summaries, {"cores": "2"})
    assert "| ours | 1 (1 to 1) |" in text
    assert "| other | 250 (250 to 250) **250×** |" in text
    assert "- Not much." in text
    assert "| cores | 2 |" in text


def test_the_table_has_a_row_a_figure(tmp_path: Path) -> None:
    frame.write(tmp_path, "it", PAGE, frame.summarise(turns_of(ours=[2.0], other=[3.0])), {})
    with (tmp_path / "it.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["contender"], row["median"], row["ratio_median"]) for row in rows] == [
        ("ours", "2", "1"),
        ("other", "3", "1.5"),
    ]


def test_the_memory_of_a_process_is_its_own_and_not_its_parents() -> None:
    ballast = np.ones(400 << 17)  # 400 MiB of this process
    figures = frame.run_alone([sys.executable, "-c", "held = bytearray(b'1') * (50 << 20)"])
    assert 50 < figures["peak_memory_mb"] < 100 < ballast.nbytes / 1e6


def test_a_contender_that_fails_stops_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        frame.run_alone([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_a_file_is_whole_after_it_was_forgotten(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"whole")
    frame.forget(tmp_path / "file")
    frame.remember(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"whole"


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != cubes.DEFAULT])
def test_contenders_give_our_cubes_where_they_cut(name: str, scans: Path) -> None:
    contender = CONTENDERS[name]
    if not frame.installed(contender.package):
        pytest.skip(f"{contender.package} isn't installed")
    cutter, reference = contender.prepare(), ours(smoothing=False)
    for seriesuid, centres_mm in find_nodules(scans).items():
        found, where_mm = cutter(scan_path(scans, seriesuid, contender.ending), centres_mm)
        expected, _ = reference(scan_path(scans, seriesuid, ".mhd"), where_mm)
        assert np.abs(where_mm - centres_mm).max() <= 0.5 + 1e-4
        assert np.ptp(expected) > 0.1
        assert np.allclose(found, expected, atol=1e-5)


def test_the_aims_are_held_against_what_was_found() -> None:
    turn = {"time_per_nodule_ms": 1.0, "from_disk_per_nodule_ms": 1.0}
    slow = {"time_per_nodule_ms": 49.0, "from_disk_per_nodule_ms": 51.0}
    turns = {
        cubes.FIRST: [turn],
        cubes.DEFAULT: [turn],
        cubes.PAIRS[0][1]: [slow],
        cubes.STAGE: [{"peak_memory_mb": 201.0}],
    }
    lines = cubes.verdict(frame.summarise(turns)).splitlines()[2:]
    assert [line.split("|")[3].strip() for line in lines] == [*["**not reached**", "reached"] * 2, "**not reached**"]


def test_the_stage_cuts_the_same_cubes(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    frame.run_alone(cubes.stage_command(scans))
    cutter = ours(smoothing=True)
    expected = [cutter(scan_path(scans, name, ".mhd"), points)[0] for name, points in find_nodules(scans).items()]
    assert np.array_equal(np.load(scans / "c.npy", allow_pickle=False), np.concatenate(expected))


def test_a_page_can_be_given_more() -> None:
    text = frame.render(replace(PAGE, extra="## More\n\nOf it."), frame.summarise(turns_of(ours=[1.0])), {})
    assert text.index("## Figures") < text.index("## More") < text.index("## What these figures don't say")


@pytest.fixture(scope="module")
def step_trainers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Trainer]:
    return training.trainers(tmp_path_factory.mktemp("steps"), training.TINY_MODEL, training.TINY_VOXELS, 6, "cpu")


@pytest.mark.parametrize("number", [0, 1])
def test_the_plain_way_gives_our_loss_and_gradient(number: int, step_trainers: tuple[Trainer, Trainer]) -> None:
    trainer = step_trainers[number]
    assert isinstance(trainer.model, DeepDensityNetwork)
    plain = PlainDensity(trainer.model)
    assert max(training.differences(trainer, plain, 6)) < training.SAME
    with torch.no_grad():
        plain.layers[3].bias.add_(0.1)  # correlations
    assert max(training.differences(trainer, plain, 6)) > training.SAME


def test_each_batch_size_becomes_a_figure_of_each_contender() -> None:
    sizes: list[int] = []
    summaries = training.measure({"ours": sizes.append, "other": sizes.append}, (4, 2), 1, torch.device("cpu"))
    assert [(one.contender, one.figure) for one in summaries] == [
        (name, figure) for name in ("ours", "other") for figure in ("batch_4_ms", "batch_2_ms")
    ]
    assert sizes == [4] * 8 + [2] * 12  # two rounds of two contenders: a step that doesn't count, then 1 or 2


def test_the_aims_of_the_step_are_held_against_what_was_found() -> None:
    times = {training.OURS: 1.0, training.PLAIN: 11.0, training.FLOOR: 0.8, training.PLAIN_FLOOR: 0.5}
    summaries = frame.summarise({name: [{"batch_32_ms": time}] for name, time in times.items()})
    lines = training.verdict(summaries, 32).splitlines()[2:]
    assert [line.split("|")[2:4] for line in lines] == [
        [" 1.25 times ", " reached "],
        [" 2.00 times ", " **not reached** "],
        [" 11 times ", " **not reached** "],
    ]


def test_a_contender_that_cannot_be_compiled_is_left_out_with_the_reason() -> None:
    def fail(batch: int) -> None:
        raise RuntimeError("no compiler\nat all")

    steps: dict[str, training.Step] = {training.OURS: int, training.COMPILED: fail}
    assert training.drop_what_fails(steps, 2) == "no compiler"
    assert list(steps) == [training.OURS]


@pytest.mark.skipif(not frame.installed("monai"), reason="monai isn't installed: make bench installs it")
def test_monais_soft_dice_and_ours_are_one_loss(tmp_path: Path) -> None:
    unet.main(["--quick", "--repeats", "1", "--output", str(tmp_path)])
    assert "| MONAI |" in (tmp_path / "unet.md").read_text()


def test_a_witness_that_is_not_installed_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "installed", lambda package: False)
    with pytest.raises(UserError, match="monai: not installed; pip install --no-deps"):
        unet.main(["--quick"])


def test_stacked_learners_have_the_gradients_that_each_has_alone_and_step_alike(tmp_path: Path) -> None:
    made = learners.write_samples(tmp_path / "samples", 8)
    trainers = {name: learners.trainer_of(tmp_path / name, *made[name]) for name in ("digits", "autoencoder")}
    summaries, said = learners.measure(trainers, [2], repeats=1)
    assert list(said) == ["digits"]  # the autoencoder's gradients are written out by hand
    assert {(one.contender, one.figure) for one in summaries} == {
        (learners.IN_TURN, "digits_2_ms"),
        (learners.STACKED, "digits_2_ms"),
        (learners.IN_TURN, "autoencoder_2_ms"),
    }
    assert trainers["digits"].update.kind == "synchronous"
