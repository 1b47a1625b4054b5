"""Advice on a study: what a few short runs foretell, and how it is said."""

import json
from dataclasses import replace

import numpy as np
import pytest
from analysis_fixtures import FIXED_TARGET, converged, paper_study, write_study
from emulation_fixtures import emulation
from workflow_fixtures import plan, snakemake

from strongscale.advice import forecast, study_page
from strongscale.advice import study as advice
from strongscale.advice.answer import answer
from strongscale.advice.law import Interval
from strongscale.advice.runs import Runs
from strongscale.common.errors import UserError
from strongscale.common.schema import build, plain
from strongscale.settings import advised
from strongscale.settings.config import NETWORKS, Study
from strongscale.timing.steps import Steps

BATCH, TRAINING = 32, 2048
LIKE = Steps(
    workers=1,
    num_training=TRAINING,
    num_validation=64,
    evaluation_chunk=8,
    gradient_bytes=4_000_000,
    kinds=(),
    epochs=(),
)


def law(critical_batch, least_steps=400.0):
    """Of runs at 32, 64 and 128 that follow it but for a little noise."""
    batches = np.repeat([32.0, 64.0, 128.0], 2)
    noise = np.array([0.99, 1.01, 1.01, 0.99, 0.99, 1.01])
    steps = least_steps * (1 + critical_batch / batches) * noise
    return answer(Runs(batches_N=batches, steps_N=steps, reached_N=np.ones(6, bool)))


def choices(network="infiniband", workers=(1, 2, 4, 8, 16), known=None, epochs=(20.0, 22.0)):
    return forecast.choices(LIKE, BATCH, workers, emulation(NETWORKS[network]), epochs, known)


def by_place(found):
    return {(choice.line, choice.workers): choice for choice in found}


def test_strong_scalings_speedup_is_the_clocks_and_has_no_band():
    found = by_place(choices())
    one, four = found["one worker", 1], found["strong", 4]
    assert four.speedup.value == one.epoch.total_s / four.epoch.total_s
    assert four.speedup.low == four.speedup.high
    assert four.epochs == one.epochs


def test_a_growing_minibatch_takes_the_laws_epochs():
    found = by_place(choices(known=law(critical_batch=128)))
    steps = 400 * (1 + 128 / 256)
    assert found["weak", 8].epochs.value == pytest.approx(steps / (TRAINING / 256), rel=0.05)
    assert found["weak", 8].epochs.low < found["weak", 8].epochs.value < found["weak", 8].epochs.high


def test_what_is_too_far_outside_the_runs_has_words_in_place_of_a_number():
    far = by_place(choices(known=law(critical_batch=128)))["weak", 16]
    assert far.epochs is None
    assert "too far outside the data" in far.why_not
    assert far.speedup is None


def test_without_a_law_nothing_is_said_of_growing_minibatches():
    assert by_place(choices())["weak", 2].why_not == "too few batch sizes were run for a law"


def test_where_one_worker_does_not_arrive_there_are_no_seconds_but_still_a_speedup():
    strong = by_place(choices(epochs=()))["strong", 2]
    assert strong.seconds is None
    assert strong.why_not == "not all runs of one worker reach the target"
    assert strong.speedup.value > 1


def test_more_workers_are_advised_as_long_as_each_doubling_saves_a_tenth():
    found = choices()
    best = forecast.best_of(found)
    speedups = {choice.workers: choice.speedup.value for choice in found if choice.line != "weak"}
    following = speedups.get(2 * best.workers)
    assert best.line == "strong"
    assert following is None or following / speedups[best.workers] < 1 / 0.9


def test_on_a_network_where_nothing_is_gained_one_worker_is_advised():
    slow = emulation(NETWORKS["gigabit"]).network
    hopeless = type(slow)(latency_s=10.0, bandwidth_bytes_per_s=1.0, workers_per_host=1)
    found = forecast.choices(LIKE, BATCH, (1, 2, 4), emulation(hopeless), (20.0,), None)
    assert forecast.best_of(found).workers == 1
    assert study_page.answer_of(found, "hopeless").startswith("One worker: ")


def wide(speedup):
    """One worker, and a growing minibatch on two whose speed-up has this middle and a wide band."""
    one, *_ = choices(workers=(1,))
    epochs_s = one.seconds.value / speedup
    two = next(choice for choice in choices(workers=(1, 2), known=law(128)) if choice.line == "weak")
    per_epoch = epochs_s / two.epoch.total_s
    band = Interval(value=per_epoch, low=per_epoch / 50, high=50 * per_epoch)
    return [one, replace(two, epochs=band, one=one)]


def test_a_middle_that_may_as_well_be_below_one_is_no_advice_but_is_told():
    found = wide(2.0)
    assert forecast.best_of(found).workers == 1
    words = study_page.answer_of(found, "infiniband")
    assert words.startswith("One worker: ")
    assert "A minibatch that grows may be 2 [0.04, 100] times as fast on 2: these runs don't tell" in words


def test_where_one_worker_does_not_arrive_that_is_the_answer():
    words = study_page.answer_of(choices(epochs=()), "infiniband")
    assert words.startswith("First of all, not all runs of one worker reach the target: a lower rate, more epochs")


def test_the_answer_names_strategy_workers_and_gpu_hours():
    words = study_page.answer_of(choices(), "infiniband")
    assert words.startswith("Strong scaling on ")
    assert "times as fast as one, " in words
    assert "times the GPU-hours" in words


def test_the_table_speaks_of_samples_a_rank_and_of_prices():
    rows = study_page.table(choices(), 0.001, price=2.0)
    four = next(row for row in rows if (row["strategy"], row["workers"]) == ("strong", 4))
    assert (four["batch_size of a rank"], four["lr"]) == ("8", "0.001")
    assert float(four["price"]) == pytest.approx(2 * float(four["GPU-hours"]), rel=1e-3)


# --- the small study beside it


def study(**changes):
    settings = {"clock": "emulated", "seeds": [1, 2, 3], "training": FIXED_TARGET, "edge": {"rates": []}}
    return paper_study(**settings | changes)


def test_the_runs_beside_a_study_are_few():
    small = advised.probe(study(), "studies.small")
    assert list(small.strategies) == ["weak"]
    assert (small.workers, small.seeds) == ((1, 2, 4), (1, 2, 3))


def test_a_study_with_fewer_seeds_is_given_more_for_advice_but_none_of_its_pilots():
    piloted = study(seeds=[7], training={**FIXED_TARGET, "target": {"sequential_epochs": 20, "pilots": [1, 3]}})
    assert advised.probe(piloted, "studies.small").seeds == (7, 2, 4)


def test_without_a_target_there_is_no_advice():
    without = study(training={**FIXED_TARGET, "target": None})
    with pytest.raises(UserError, match=r"studies\.small\.training\.target: null is not allowed for advice"):
        advised.probe(without, "studies.small")


@pytest.fixture
def page(tmp_path):
    """A function that writes the advice on a study; its folder."""
    results = tmp_path / "results"
    small = build(Study, plain(advised.probe(study(), "small")), "")
    write_study(results, small, lambda cell: converged(cell, (cell.workers + 6) / 7), name="small_advice")
    timings = next((results / "timings").glob("*/timings.json"))

    def write(*options):
        told = ["--settings", json.dumps(plain(study())), "--probe", str(results / "small_advice")]
        advice.main([*told, "--timings", str(timings), "--output", str(tmp_path / "advice"), *options])
        return tmp_path / "advice"

    return write


def test_the_page_begins_with_the_answer_and_says_what_it_stands_on(page, capsys):
    folder = page()
    text = (folder / "advice.md").read_text()
    assert text.splitlines()[2] == capsys.readouterr().out.strip()
    assert "Foretold, not measured: from 9 runs" in text
    told = json.loads((folder / "advice.json").read_text())
    assert set(told["on"]) == {"ten_gigabit", "gigabit", "infiniband"}
    assert told["on"]["gigabit"]["choices"][0]["speedup"]["value"] == 1


def test_a_price_below_nothing_is_refused(page):
    with pytest.raises(UserError, match="--price: -1 is not allowed"):
        page("--price", "-1")


def test_advice_takes_few_runs_through_snakemake(tmp_path):
    found = plan(tmp_path, "advice", config=None)
    assert len(found.outputs["train"]) < 12
    assert found.outputs["advice_page"] == [
        [f"results/quick/advice/advice.{ending}" for ending in ("md", "json", "html")]
    ]


def test_a_study_of_the_probes_name_is_not_taken_for_it(tmp_path):
    (tmp_path / "mine.yaml").write_text("studies: {quick_advice: {like: digits}}\n")
    told = snakemake(tmp_path, "--dry-run", "advice", config="mine.yaml")
    assert "no other study may be named quick_advice" in told.stdout
    assert "Traceback" not in told.stdout


def test_a_comparison_has_no_advice(tmp_path):
    (tmp_path / "mine.yaml").write_text("study: comparison\n")
    told = snakemake(tmp_path, "--dry-run", "advice", config="mine.yaml")
    assert "advice: comparison is a comparison; allowed: --config study=<a study>" in told.stdout
