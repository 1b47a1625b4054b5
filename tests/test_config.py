"""The settings: each mistake is one line with its key, the value and what is allowed."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from strongscale.common import parts
from strongscale.common.errors import UserError
from strongscale.common.schema import build, plain
from strongscale.models.base import Model
from strongscale.recovery.finished import read_settings
from strongscale.settings import cells
from strongscale.settings.config import Study
from strongscale.settings.config_file import parse, refuse_repeated_keys
from strongscale.strategies.base import Strategy

ROOT = Path(__file__).parents[1]
RAW = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(key, value):
    """config.yaml with one setting replaced."""
    raw = copy.deepcopy(RAW)
    *path, last = key.split(".")
    table = raw
    for name in path:
        table = table.setdefault(name, {})
    table[last] = value
    return raw


MISTAKES = [
    ("studies.quick.trainin", {}, ["studies.quick.trainin", "unknown key", "did you mean training?"]),
    ("studies.quick.training.batch_size", "many", ["studies.quick.training.batch_size", "'many'", "a whole number"]),
    ("studies.quick.training.batch_size", 0, ["studies.quick.training.batch_size", "0", "at least 1"]),
    ("studies.quick.training.batch_size", True, ["studies.quick.training.batch_size", "True", "a whole number"]),
    ("studies.quick.training.learning_rate", -1, ["learning_rate", "-1", "greater than 0", "edge"]),
    ("studies.quick.training.learning_rate", "fast", ["learning_rate", "'fast'", "a number", "edge"]),
    ("studies.quick.training.learning_rate", float("nan"), ["learning_rate", "nan"]),
    ("studies.quick.training.target", {"sequential_epochs": 0}, ["target.sequential_epochs", "0", "at least 1"]),
    ("studies.quick.clock", "sundial", ["studies.quick.clock", "'sundial'", "wall, emulated"]),
    ("studies.quick.network", "pigeons", ["studies.quick.network", "'pigeons'", "gigabit"]),
    ("studies.quick.dataset", "mnist", ["studies.quick.dataset", "'mnist'", "phantom_small"]),
    ("studies.quick.strategies.stong", {}, ["studies.quick.strategies.stong", "no strategy 'stong'", "strong"]),
    ("studies.quick.strategies.warmup", {"parameters": {"epoch": 3}}, ["warmup.parameters.epoch", "unknown key", "epochs?"]),
    ("studies.quick.strategies", {}, ["studies.quick.strategies", "at least one"]),
    ("studies.quick.workers", [1, 64], ["studies.quick.strategies.strong", "64 workers", "32 samples"]),
    ("studies.quick.workers", [], ["studies.quick.workers", "at least one entry"]),
    ("studies.quick.workers", [2, 2], ["studies.quick.workers", "none twice"]),
    ("studies.quick.seeds", [-1], ["studies.quick.seeds[0]", "-1", "at least 0"]),
    ("studies.quick.strategies.strong", {"workers": [0]}, ["strategies.strong.workers[0]", "0", "at least 1"]),
    ("studies.quick.model.dimensions", 2.0, ["studies.quick.model.dimensions", "2.0", "1, 2, 3"]),
    ("studies.fair.tuning.around", None, ["studies.fair.tuning.around", "null", "a rate to search about"]),
    ("studies.fair.tuning.trials", 6, ["studies.fair.tuning.trials", "6", "4, 8"]),
    ("studies.fair.tuning.seeds", [201, 2], ["studies.fair.tuning.seeds", "2 is not allowed", "the study's nor its pilots'"]),
    ("studies.fair.tuning.seeds", [101], ["studies.fair.tuning.seeds", "101 is not allowed"]),
    ("studies.fair.training.warmup_steps", 5, ["studies.fair.training.warmup_steps", "5", "finds the warm-up too"]),
    ("studies.fair.training.warmup_steps", -1, ["studies.fair.training.warmup_steps", "-1", "at least 0"]),
    ("studies.quick.training.schedule", "stairs", ["training.schedule", "'stairs'", "constant, cosine, step"]),
    ("studies.quick.training.schedule", {"kind": "step", "epochs": []}, ["training.schedule.epochs", "at least one"]),
    ("studies.quick.training.schedule", {"kind": "step", "epochs": [9, 5]}, ["training.schedule.epochs: [9, 5]", "rising"]),
    ("studies.quick.training.schedule", {"kind": "step", "epochs": [5], "factor": 2}, ["schedule.factor", "2", "at most 1"]),
    ("studies.quick.training.schedule", {"kind": "cosine", "floor": -1}, ["schedule.floor", "-1", "at least 0"]),
    ("studies.unet_quick.dataset", "phantom_small", ["unet_quick.dataset", "'phantom_small'", "masks: true (lidc_masked, lidc_slices, phantom_masked)"]),
    ("studies.unet_quick.dataset", None, ["studies.unet_quick.dataset", "None", "phantom_masked"]),
    ("studies.unet_quick.task.levels", 7, ["studies.unet_quick.task.levels", "7", "at most 6"]),
    ("studies.unet_quick.task.dimensions", 1, ["studies.unet_quick.task.dimensions", "1", "2, 3"]),
    ("studies.unet_quick.model", {"components": 3}, ["studies.unet_quick.model", "brings its own model"]),
    ("datasets.luna16.cubes.masks", True, ["datasets.luna16", "cubes.masks: true", "download: luna16, which has no masks"]),
    ("studies.unet_quick.task.levels", 6, ["unet_quick.task.levels: 6", "32 voxels", "nothing to normalise over"]),
    ("datasets.phantom_masked.cubes.voxels", 30, ["studies.unet_quick.task.levels: 3", "30 voxels", "divides 30"]),
    ("studies.fair.strategies.linear", {}, ["studies.fair.strategies.linear", "only changes the rate", "weak"]),
    (
        "studies.fair.strategies.sma",
        {"parameters": {"learners": "auto"}},
        ["studies.fair.strategies.sma.parameters.learners", "auto", "allowed: a number"],
    ),
    ("studies.fair.strategies.warmup", {}, ["studies.fair.strategies.warmup", "only changes the rate"]),
    ("studies.quick.edge.between", None, ["studies.quick.edge.between", "null", "two rates [LOW, HIGH]"]),
    ("studies.quick.edge.between", [0.004, 0.001], ["edge.between: [0.004, 0.001]", "the lower rate first"]),
    ("studies.quick.edge.seeds", [101, 2], ["studies.quick.edge.seeds", "2", "aren't among the study's"]),
    ("studies.quick.edge.resolution", 1.0, ["edge.resolution", "1.0", "at least 1.05"]),
    ("studies.quick.training.target", {"sequential_epochs": 10}, ["training.target.pilots", "missing"]),
    ("studies.quick.strategies", {"pilot": {"kind": "strong"}}, ["strategies.'pilot'", "not sequential, pilot or rate_..."]),
    ("studies.quick.model.kernels", [7, 5], ["studies.quick.model.kernels", "[7, 5]", "as many as there are filters"]),
    ("studies.quick.model.kernels", [9, 7, 5], ["studies.quick.model.kernels", "leave -2 voxels"]),
    ("studies.paper.max_ranks", 2, ["studies.paper.max_ranks", "2", "null with clock: wall"]),
    ("studies.phantom.like", "phantom", ["studies.phantom.like", "'phantom'", "quick"]),
    ("studies.clock_wall.compare_clock_with", "paper", ["compare_clock_with", "'paper'", "other clock"]),
    ("datasets.luna16.cubes", {"window_hu": [400, -1000]}, ["datasets.luna16.cubes.window_hu", "lower intensity first"]),
    ("datasets.luna16.phantom", {}, ["datasets.luna16", "exactly one of the two"]),
    ("datasets.luna16.subsets", [10], ["datasets.luna16", "subsets: LUNA16 has subset0 to subset9"]),
    ("datasets.luna16.download", "lidc", ["datasets.luna16", "subsets", "allowed with download: lidc: [0]"]),
    ("datasets.lidc.cubes.minimum_readers", 1, ["datasets.lidc", "cubes.minimum_readers: 1", "lidc", "allowed: 3"]),
    ("datasets.lidc.download", "luna", ["datasets.lidc.download", "'luna'", "luna16, lidc"]),
    ("datasets.luna16.num_validation", 2.5, ["datasets.luna16.num_validation", "2.5", "a whole number"]),
    ("study", "quik", ["study", "'quik'", "quick"]),
    ("studies", None, ["studies", "allowed"]),
    ("studies", ["quick"], ["studies", "a table of studies"]),
    ("studies.quick.training.max_epochs", 5, ["target.sequential_epochs", "10", "at most training.max_epochs, 5"]),
    ("studies.quick.training.microbatch", 8, ["strong", "8 workers", "micro-batches of 8", "at most 4"]),
    ("datasets.phantom_small.phantom.scans", 2, ["datasets.phantom_small.phantom.subsets", "4", "at most one a scan"]),
    ("studies.quick/two", {"like": "quick"}, ["quick/two", "letters, digits"]),
    ("studies.", {"like": "quick"}, ["'' is not allowed as the name of a study", "letters, digits"]),
    ("studies." + 300 * "x", {"like": "quick"}, [57 * "x" + "'... is not allowed as the name of a study", "at most 64"]),
    ("studies.größe", {"like": "quick"}, ["'größe' is not allowed as the name of a study"]),
    ("studies.-quick", {"like": "quick"}, ["'-quick' is not allowed as the name of a study", "the first a letter"]),
    ("datasets.", {"phantom": {}}, ["'' is not allowed as the name of a study or data set"]),
    ("studies.quick.strategies." + 300 * "x", {"kind": "strong"}, ["strategies.'xxx", "this name is not allowed", "at most 64"]),
    ("studies.quick.model.kind", "foo", ["studies.quick.model.kind", "'foo'", "allowed: deepdensity"]),
    ("studies.quick.model.kind", "../../x", ["studies.quick.model.kind", "'../../x'", "allowed: deepdensity"]),
    ("studies.quick.model.kind", "mixture", ["studies.quick.model.kind", "'mixture'", "allowed: deepdensity"]),
    ("studies.quick.seeds", [2**70], ["studies.quick.seeds[0]", str(2**70), "at most 9.22337e+18"]),
    ("studies.quick.workers", [100_000], ["studies.quick.workers[0]", "100000", "at most 4096"]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "words"), MISTAKES, ids=lambda item: item if isinstance(item, str) else "")
def test_a_mistake_is_one_line_that_names_key_value_and_what_is_allowed(key, value, words):
    with pytest.raises(UserError) as caught:
        parse(changed(key, value))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_only_real_models_are_offered():
    assert "deepdensity" in parts.names(Model)
    assert not {"base", "density", "__init__"} & set(parts.names(Model))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study: a\nstudies: {}\nstudy: b\n", "mine.yaml: study stands there twice, in lines 1 and 3"),
        ("studies:\n  a: {like: b}\n  c: {}\n  a:\n    like: d\n", "studies.a stands there twice, in lines 2 and 4"),
        ("a:\n- b: 1\n- {c: 1, d: 2,\n   c: 3}\n", r"a\[1\].c stands there twice, in lines 3 and 4"),
        ('{"study": "a",\n\t"study": "b"}', "study stands there twice, in lines 1 and 2"),
    ],
)
def test_a_key_that_stands_twice_in_a_file_is_named_with_its_lines(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        refuse_repeated_keys([ROOT / "config.yaml", tmp_path / "mine.yaml"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}\n", "a: {b: 1}\nc: {b: 1}\n", "- &x [*x]\n"]
)
def test_keys_that_stand_once_in_their_table_are_fine(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    refuse_repeated_keys([ROOT / "config.yaml", str(tmp_path / "mine.yaml")])


CELL_MISTAKES = [
    ("kind", "nope", "kind: no strategy 'nope'; allowed: adascale"),
    ("kind", "../../x", "kind: no strategy '../../x'"),
    ("seed", 2**70, "seed: .* is not allowed; allowed: a whole number at least 0 and at most"),
    ("workers", 1000, "workers: 1000 workers is not allowed for a minibatch of 16 samples"),
    ("workers", 0, "workers: 0 is not allowed"),
    ("workers", 10**6, "workers: 1000000 is not allowed; allowed: .* at most 4096"),
    ("ranks", 0, "ranks: 0 is not allowed"),
    ("training.learning_rate", "edge", "training.learning_rate: 'edge' is not allowed"),
    ("parameters", {"epochs": 3}, "parameters.epochs: unknown key"),
]


@pytest.mark.parametrize(("key", "value", "words"), CELL_MISTAKES)
def test_a_mistake_in_a_cell_is_one_line(make_cell, key, value, words):
    path = make_cell("strong", 2) / "cell.json"
    raw = json.loads(path.read_text())
    *tables, last = key.split(".")
    table = raw[tables[0]] if tables else raw
    table[last] = value
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=f"cell.json.{words}") as caught:
        read_settings(path.parent)
    assert "\n" not in str(caught.value)


def test_the_projects_own_configuration_is_valid():
    assert parse(RAW).study == "quick"


@pytest.mark.parametrize("kind", parts.names(Strategy))
def test_every_strategy_may_stand_in_a_study(kind):
    study = parse(changed("studies.quick.strategies", {kind: {}})).studies["quick"]
    assert study.strategy(kind).kind == kind


def test_the_defaults_are_the_papers():
    study = parse(RAW).studies["paper"]
    settings, model = study.training, study.model
    assert (settings.batch_size, settings.learning_rate, settings.target, settings.max_epochs) == (
        32,
        0.00105,
        0.0016384,
        400,
    )
    assert (settings.optimizer.beta1, settings.optimizer.beta2, settings.optimizer.epsilon) == (0.9, 0.999, 1e-8)
    assert (model.components, model.filters, model.kernels) == (50, (32, 32, 32), (7, 5, 3))
    assert study.workers == (1, 2, 4, 8, 16, 32)
    assert study.clock == "wall"


def test_a_study_takes_what_it_does_not_say_from_the_one_it_is_like():
    raw = changed("studies.mine", {"like": "quick", "training": {"max_epochs": 30}})
    mine, quick = (parse(raw).studies[name] for name in ("mine", "quick"))
    assert mine.training.max_epochs == 30
    assert mine.training.target == quick.training.target
    assert mine.strategies == quick.strategies


def test_a_number_that_yaml_reads_as_text_is_a_number():
    raw = changed("studies.quick.training.learning_rate", "1e-3")
    assert parse(raw).studies["quick"].training.learning_rate == 0.001


def test_settings_survive_the_way_through_json():
    study = parse(RAW).studies["paper"]
    assert build(Study, plain(study), "study") == study


def test_the_papers_matrix_is_21_runs_beside_those_of_claims_5_and_9():
    study = parse(RAW).studies["paper"]
    names = [cell.strategy for cell in cells.all_cells("paper", study)]
    counts = {name: names.count(name) for name in set(names)}
    assert counts == {
        "sequential": 1, "strong": 5, "weak": 5, "linear": 5, "warmup": 5, "warmup10": 3,
        "rate_0.000525": 1, "rate_0.0021": 1, "rate_0.0042": 1,
    }  # fmt: skip


def test_one_worker_is_the_same_run_for_every_strategy():
    study = parse(RAW).studies["quick"]
    firsts = {cell for (_, workers, _), cell in cells.matrix("quick", study).items() if workers == 1}
    assert len(firsts) == len(study.seeds)


def test_a_change_of_one_line_of_the_matrix_leaves_the_other_cells_as_they_are():
    before = parse(RAW).studies["paper"]
    after = parse(changed("studies.paper.strategies.warmup.parameters", {"epochs": 7})).studies["paper"]
    assert cells.own_part(before, "strong") == cells.own_part(after, "strong")
    assert cells.own_part(before, "warmup") != cells.own_part(after, "warmup")


def test_more_seeds_workers_or_rates_leave_the_cells_there_are_as_they_are():
    before = parse(RAW).studies["quick"]
    for key, value in [("workers", [1, 3]), ("seeds", [1, 2]), ("edge.rates", [0.1])]:
        after = parse(changed(f"studies.quick.{key}", value)).studies["quick"]
        assert cells.own_part(before, "strong") == cells.own_part(after, "strong")


def test_the_search_for_the_edge_depends_on_the_sequential_run_and_its_own_settings_alone():
    before = cells.search_part(parse(RAW).studies["quick"])
    for key, value in [("workers", [1, 3]), ("seeds", [1, 2]), ("edge.rates", [0.1]), ("training.max_epochs", 99)]:
        assert cells.search_part(parse(changed(f"studies.quick.{key}", value)).studies["quick"]) == before
    for key, value in [("edge.epochs", 6), ("edge.resolution", 1.5), ("training.evaluation_chunk", 4)]:
        assert cells.search_part(parse(changed(f"studies.quick.{key}", value)).studies["quick"]) != before


def test_passes_of_the_sequential_path_are_as_given_and_those_of_whole_shards_are_whole():
    study = parse(changed("studies.quick.training.microbatch", 2)).studies["quick"]
    base = study.training.batch_size
    sizes = {line: cells.microbatch(study, line) for line in ("sequential", *study.strategies, "rate_0.001", "pilot")}
    assert sizes == {
        "sequential": 2,
        "strong": 2,
        **dict.fromkeys(("weak", "linear", "warmup", "rate_0.001", "pilot"), base),
    }


def test_passes_do_not_depend_on_workers_or_on_other_lines():
    study = parse(RAW).studies["quick"]
    for other in (replace(study, workers=(1, 2)), replace(study, strategies={"weak": study.strategies["weak"]})):
        assert cells.microbatch(other, "weak") == cells.microbatch(study, "weak")
        assert cells.microbatch(other, "sequential") == cells.microbatch(study, "sequential")


def test_fast_mode_has_no_passes_of_its_own():
    study = parse(changed("studies.quick.training.reduction", "fast")).studies["quick"]
    assert {cells.microbatch(study, line) for line in ("sequential", *study.strategies)} == {4}


# --- strong scaling in exact mode, and studies of other studies' runs


def test_strong_scaling_in_exact_mode_is_the_sequential_run_on_the_emulated_clock():
    study = parse(RAW).studies["quick"]
    assert {cell.strategy for (line, *_), cell in cells.matrix("quick", study).items() if line == "strong"} == {
        "sequential"
    }
    assert "strong" not in {cell.strategy for cell in cells.all_cells("quick", study)}
    assert "weak" in {cell.strategy for cell in cells.all_cells("quick", study)}


@pytest.mark.parametrize(
    ("key", "value"),
    [("share_trajectories", False), ("training.reduction", "fast")],
)
def test_strong_scaling_is_trained_where_it_is_a_path_or_a_time_of_its_own(key, value):
    check_strong_is_trained(parse(changed(f"studies.quick.{key}", value)).studies["quick"])


def test_strong_scaling_is_trained_on_the_wall_clock():
    check_strong_is_trained(replace(parse(RAW).studies["quick"], clock="wall", max_ranks=None))


def check_strong_is_trained(study):
    matrix = cells.matrix("quick", study)
    assert {cell.strategy for (line, workers, _), cell in matrix.items() if line == "strong" and workers > 1} == {
        "strong"
    }


def test_a_line_with_an_optimizer_of_its_own_is_no_sequential_run():
    raw = changed("studies.quick.strategies.strong", {"optimizer": "sgd"})
    study = parse(raw).studies["quick"]
    assert not cells.follows_sequential(study, "strong")
    assert cells.matrix("quick", study)["strong", 1, 1].strategy == "strong"


def test_a_study_of_anothers_trajectories_has_its_runs():
    study = parse(with_other({"network": "infiniband", "timings": "paper_k80"})).studies["other"]
    assert {cell.study for cell in cells.all_cells("other", study)} == {"quick"}
    assert cells.all_cells("other", study) == cells.all_cells("quick", parse(RAW).studies["quick"])


def test_a_study_of_anothers_trajectories_may_have_fewer_lines_and_workers():
    study = parse(with_other({"workers": [1, 4], "strategies": {"weak": {}}})).studies["other"]
    assert {(cell.strategy, cell.workers) for cell in cells.matrix("other", study).values()} == {
        ("sequential", 1),
        ("weak", 4),
    }


def with_other(settings):
    """config.yaml with a study that trains nothing."""
    raw = copy.deepcopy(RAW)
    raw["studies"]["other"] = {"like": "quick", "trajectories": "quick"} | settings
    return raw


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trajectories": "nope"}, r"studies\.other\.trajectories: 'nope' is not allowed; allowed: .*quick"),
        ({"trajectories": "other"}, r"studies\.other\.trajectories: 'other' is not allowed; allowed: .*quick"),
        (
            {"workers": [1, 2, 3]},
            r"studies\.other\.trajectories: study quick has no run .* 3 workers, seed 1; leave it",
        ),
        ({"seeds": [1, 99]}, r"studies\.other\.trajectories: study quick has no run .* seed 99; leave it out here"),
        (
            {"clock": "wall", "max_ranks": None},
            r"studies\.other\.clock: wall is not allowed with trajectories; allowed: emulated",
        ),
        (
            {"training": {"learning_rate": 0.5}},
            r"studies\.other: training .*0\.5.* the runs of study quick weren't trained",
        ),
        ({"training": {"batch_size": 64}}, r"studies\.other: training .*64.* the runs of study quick weren't trained"),
        ({"training": {"max_epochs": 50}}, r"studies\.other: training .*50.* the runs of study quick weren't trained"),
        ({"model": {"filters": [8, 8, 8]}}, r"studies\.other: model .* the runs of study quick weren't trained"),
        ({"timings": "abacus"}, r"timings: 'abacus' is not allowed; allowed: .*paper_k80"),
        ({"stragglers": 2}, r"studies\.other\.stragglers: 2 is not allowed"),
        ({"stragglers": "many"}, r"studies\.other\.stragglers: 'many' is not allowed; allowed: .*measured"),
        ({"evaluation": "nobody"}, r"studies\.other\.evaluation: 'nobody' is not allowed; allowed: .*everywhere"),
        ({"share_trajectories": "no!"}, r"studies\.other\.share_trajectories: 'no!' is not allowed"),
    ],
)
def test_a_mistake_in_a_study_that_trains_nothing_is_one_line(settings, words):
    with pytest.raises(UserError, match=words) as caught:
        parse(with_other(settings))
    assert "\n" not in str(caught.value)


def test_trajectories_of_trajectories_are_refused():
    raw = with_other({})
    raw["studies"]["third"] = {"like": "quick", "trajectories": "other"}
    with pytest.raises(UserError, match=r"studies\.third\.trajectories: 'other' is not allowed; allowed: .*quick"):
        parse(raw)


def test_a_rate_of_its_own_is_no_part_of_what_seconds_are_made_of():
    quick = parse(RAW).studies["quick"]
    other = replace(quick, network="infiniband", timings="paper_k80", stragglers=0.1, evaluation="everywhere")
    assert cells.difference_in_training(other, quick, "weak") is None
    faster = replace(quick, training=replace(quick.training, learning_rate=0.5))
    assert "0.5" in cells.difference_in_training(faster, quick, "weak")


def test_a_rate_of_the_edge_that_is_the_studys_own_is_not_run_twice():
    raw = changed("studies.paper.edge.rates", [0.00105, 0.0021])
    assert [cell.strategy for cell in cells.rate_cells("paper", parse(raw).studies["paper"])] == ["rate_0.0021"]


@pytest.mark.parametrize("name", parts.names(Strategy))
def test_every_strategy_can_be_a_line_of_a_study(name):
    config = parse(changed("studies.quick.strategies", {name: {}}))
    assert config.broken == {}
    assert list(config.studies["quick"].strategies) == [name]
