"""What is wrong with a user's own part is one line that names the file, and concerns only those who name it."""

import json
import re
import textwrap

import pytest
from own_parts_fixtures import DENSE, LINES, SIGNS, cell_of

from strongscale.common import parts
from strongscale.common.errors import UserError
from strongscale.common.schema import build, plain
from strongscale.distributed.world import World
from strongscale.models.base import Model
from strongscale.optimizers.base import Optimizer
from strongscale.optimizers.sgd import Sgd
from strongscale.settings.config_file import parse
from strongscale.strategies.base import Plan, Progress, Strategy, planned
from strongscale.tasks.base import Task
from strongscale.training import samples
from strongscale.training.run import train
from strongscale.updates.base import Update


@pytest.mark.parametrize(
    ("base", "text", "words"),
    [
        (
            Strategy,
            "import nothing_of_this_name\n",
            "mine.py: line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        (Strategy, "x = 1\nthis is no Python (\n", "mine.py: line 2: SyntaxError: "),
        (Strategy, "raise SystemExit(3)\n", "mine.py: SystemExit: 3"),
        (Strategy, "x = 1\n", "mine.py: defines 0 classes that are a Strategy; allowed: exactly one, the strategy"),
        (Task, LINES.replace("@dataclass(frozen=True)\n", "\n"), "mine.py: Lines.inputs is no field; write @dataclass"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(own, base, text, words):
    with pytest.raises(parts.PartError) as told:
        parts.find(base, own("mine.py", text), "kind")
    assert str(told.value).startswith(words)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there_is_told_with_where_it_was_looked_for(own, tmp_path):
    with pytest.raises(UserError, match=f"task: nope.py: No such file or directory; allowed: .*{tmp_path}"):
        parts.find(Task, "nope.py", "task")


def test_an_unknown_parameter_of_ones_own_is_told_as_any_other(own):
    with pytest.raises(UserError, match="task.input: unknown key; allowed: inputs; did you mean inputs?"):
        build(Task, {"kind": own("lines.py", LINES), "input": 2}, "task")


CHANGED = {
    "samples give one tensor": (
        "return (x[:40], y[:40]), (x[40:], y[40:])",
        "return x",
        r"samples gives a tensor \(60, 3\); allowed",
    ),
    "rows differ": ("(x[:40], y[:40])", "(x[:40], y[:30])", "tensors with as many rows"),
    "no model": (
        "return nn.Linear(self.inputs, 1)",
        "return 3",
        "create_model gives a int; allowed: a torch.nn.Module",
    ),
    "one loss": (".square()\n\n    def constant", ".square().mean()\n\n    def constant", "losses of the shape"),
    "an error in losses": (
        "x, y = batch\n        return (model",
        "x, y = batch + 1\n        return (model",
        "line .*: TypeError: ",
    ),
    "batch norm": (
        "nn.Linear(self.inputs, 1)",
        "nn.Sequential(nn.Linear(self.inputs, 1), nn.BatchNorm1d(1))",
        "BatchNorm1d",
    ),
    "constant": (
        "return float((validation[1]",
        "return 0 * float((validation[1]",
        "constant_loss is 0.0; allowed: a number above 0",
    ),
}


@pytest.mark.parametrize(("old", "new", "words"), CHANGED.values(), ids=CHANGED.keys())
def test_a_task_that_cannot_be_trained_is_refused_before_any_run(own, tmp_path, old, new, words):
    text = textwrap.dedent(LINES)
    assert old in text
    with pytest.raises(UserError, match=words) as told:
        samples.make(build(Task, own("lines.py", text.replace(old, new)), "task"), tmp_path / "samples")
    assert "lines.py" in str(told.value)
    assert not (tmp_path / "samples").exists()


def test_a_broken_file_concerns_only_the_studies_that_name_it(own):
    study = {"task": own("broken.py", "import nothing_of_this_name\n"), "strategies": {"strong": {}}}
    fine = {"dataset": "phantom", "strategies": {"strong": {}}}
    raw = {"study": "fine", "datasets": {"phantom": {"phantom": {}}}, "studies": {"fine": fine, "broken": study}}
    config = parse(raw)
    assert list(config.studies) == ["fine"]
    assert config.broken["broken"].startswith("broken.py: line 1: ModuleNotFoundError")
    strategy = {"dataset": "phantom", "strategies": {"mine": {"kind": "broken.py"}}}
    assert "broken.py" in parse({**raw, "studies": {"fine": fine, "broken": strategy}}).broken["broken"]


def test_a_plan_that_fails_is_the_files_mistake(own):
    text = "from strongscale.strategies.base import Strategy\n\nclass Mine(Strategy):\n    def plan(self, base, progress):\n        return 1 / 0\n"
    study = {"dataset": "phantom", "strategies": {"mine": {"kind": own("mine.py", text)}}}
    fine = {"dataset": "phantom", "strategies": {"strong": {}}}
    config = parse(
        {"study": "fine", "datasets": {"phantom": {"phantom": {}}}, "studies": {"fine": fine, "mine": study}}
    )
    assert config.broken == {"mine": "mine.py: line 5: ZeroDivisionError: division by zero"}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("dataset", "phantom", "dataset: 'phantom' is not allowed; allowed: null, for the task brings its own samples"),
        ("model", {"filters": [4, 4, 4]}, "model: not allowed; the task brings its own model"),
    ],
)
def test_what_a_task_brings_itself_is_not_to_be_named_besides(key, value, words):
    study = {"task": "digits", "strategies": {"strong": {}}, key: value}
    with pytest.raises(UserError, match=words):
        parse({"study": "digits", "datasets": {"phantom": {"phantom": {}}}, "studies": {"digits": study}})


def test_a_study_like_another_leaves_its_data_and_model_behind_with_its_task():
    quick = {"dataset": "phantom", "model": {"filters": [4, 4, 4]}, "strategies": {"strong": {}}, "seeds": [7]}
    studies = {"quick": quick, "digits": {"like": "quick", "task": "digits"}}
    config = parse({"study": "digits", "datasets": {"phantom": {"phantom": {}}}, "studies": studies})
    digits = config.studies["digits"]
    assert (digits.dataset, digits.task.kind, digits.seeds) == (None, "digits", (7,))
    assert json.dumps(plain(digits))


def test_an_update_rule_is_found_by_its_name():
    assert "synchronous" in parts.names(Update)


def test_an_edit_within_a_second_is_another_class(own):
    text = "from strongscale.strategies.base import Plan, Strategy\n\nclass Mine(Strategy):\n    def plan(self, base, progress):\n        return Plan(16, base.rate)\n"
    first = parts.find(Strategy, own("mine.py", text), "kind")
    second = parts.find(Strategy, own("mine.py", text.replace("16", "99")), "kind")
    base, progress = Plan(8, 0.1), Progress(workers=1, samples=100)
    assert (first().plan(base, progress).batch, second().plan(base, progress).batch) == (16, 99)


def test_one_file_has_one_name_however_it_is_asked_for(own, tmp_path):
    path = own("dense.py", DENSE)
    found = {parts.find(Model, name, "kind") for name in (path, f"./{path}", str(tmp_path / path))}
    assert [cls.kind for cls in found] == ["dense.py"]


def test_a_measure_that_would_fail_after_the_training_fails_before_it(own, tmp_path):
    text = LINES.replace('return {"right": ((model(x)[:, 0] - y).abs() < 0.5).float()}', 'return {"right": 0.5}')
    with pytest.raises(UserError, match=r"its measure right is a float; allowed: one number a sample"):
        cell_of(tmp_path, own("lines.py", text))


BAD_PLANS = {
    "Plan(0, 0.1)": "batch=0",
    "Plan(2.0, 0.1)": "batch=2.0",
    "Plan(2, float('nan'))": "rate=nan",
    "None": "None",
}


@pytest.mark.parametrize(("plan", "shown"), BAD_PLANS.items())
def test_a_plan_by_which_no_step_can_be_taken_is_refused_whenever_it_comes(own, plan, shown):
    text = f"from strongscale.strategies.base import Plan, Strategy\n\nclass Mine(Strategy):\n    def plan(self, base, progress):\n        return base if progress.step < 2 else {plan}\n"
    strategy = parts.find(Strategy, own("mine.py", text), "kind")()
    with pytest.raises(parts.PartError, match=rf"its plan of step 3 is .*{re.escape(shown)}.*allowed: a Plan"):
        next(planned(strategy, Plan(8, 0.1), 1, 100))


def test_what_a_strategy_brings_is_checked_when_the_plan_is_made(own):
    text = "from strongscale.strategies.base import Strategy\n\nclass Mine(Strategy):\n    def optimizer(self):\n        return 'adam'\n"
    study = {"task": "digits", "strategies": {"mine": {"kind": own("mine.py", text)}}}
    fine = {"task": "digits", "strategies": {"strong": {}}}
    config = parse(
        {"study": "fine", "datasets": {"phantom": {"phantom": {}}}, "studies": {"fine": fine, "mine": study}}
    )
    assert config.broken == {"mine": "strategy mine.py: optimizer() gives 'adam'; allowed: an Optimizer, or None"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "gone.py: No such file or directory"),
        (LINES.replace("inputs: int = 3", "inputs: Nothing = 3"), "NameError"),
        (LINES.replace("def losses", "def lossses"), "lacks losses, which a task needs"),
        (LINES + "\n        def __post_init__(self):\n            raise ValueError('no')\n", "Lines: ValueError: no"),
    ],
    ids=["missing", "annotation", "abstract", "post init"],
)
def test_other_mistakes_concern_only_their_study_too(own, text, words):
    path = own("gone.py", text) if text else "gone.py"
    study, fine = ({"task": task, "strategies": {"strong": {}}} for task in (path, "digits"))
    config = parse(
        {"study": "fine", "datasets": {"phantom": {"phantom": {}}}, "studies": {"fine": fine, "mine": study}}
    )
    assert words in config.broken["mine"]


def test_an_error_in_the_middle_of_training_is_one_line_too(own, make_cell):
    text = SIGNS.replace("weights.sub_(", "state['count'].add_(1) if rate < 0.001 else weights.sub_(")
    optimizer = build(Optimizer, own("signs.py", text), "optimizer")
    with pytest.raises(parts.PartError, match=r"^signs.py: line \d+: KeyError: 'count'$"):
        train(make_cell("strong", 2, optimizer=optimizer, learning_rate=0.0005), World())


def test_a_part_of_another_kind_replaces_and_one_of_the_same_is_merged():
    base = {"task": "digits", "strategies": {"strong": {}}, "training": {"optimizer": {"beta1": 0.8}}}
    studies = {
        "base": base,
        "same": {"like": "base", "training": {"optimizer": {"kind": "adam", "beta2": 0.9}}},
        "other": {"like": "base", "training": {"optimizer": "sgd"}},
        "explicit": {"like": "base", "task": {"kind": "digits", "filters": 4}},
    }
    found = parse({"study": "base", "datasets": {"phantom": {"phantom": {}}}, "studies": studies}).studies
    assert (found["same"].training.optimizer.beta1, found["same"].training.optimizer.beta2) == (0.8, 0.9)
    assert found["other"].training.optimizer == Sgd()
    assert found["explicit"].task.filters == 4
