"""config.yaml: studies that are like others, and what no single setting can know."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongscale.common import parts
from strongscale.common.errors import UserError, show
from strongscale.common.parts import PartError
from strongscale.common.schema import build
from strongscale.models.base import Model
from strongscale.models.deepdensity import DeepDensity
from strongscale.optimizers.base import Optimizer
from strongscale.schedules.base import Schedule
from strongscale.settings import cells, comparisons, timed, tuned
from strongscale.settings.config import SEQUENTIAL, Config, SequentialEpochs, StrategyEntry, Study
from strongscale.settings.looks import at_most
from strongscale.settings.plans import check_workers
from strongscale.strategies.base import Strategy
from strongscale.tasks.base import MaskTask, Task
from strongscale.updates.base import Update

if TYPE_CHECKING:
    import yaml

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of a folder, on every file system and in every scheduler
LINE = re.compile("[A-Za-z_][A-Za-z0-9_]{0,63}")


def refuse_repeated_keys(paths: Iterable[str | Path]) -> None:
    """YAML keeps the last of two equal keys without a word; where a file has some, that is a `UserError`."""
    import yaml  # not where it isn't needed: a compute node may lack it

    for path in map(Path, paths):
        try:
            text = path.read_text(encoding="utf-8").replace("\t", " ")  # JSON may be indented by tabs, YAML's may not
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{path}: can't be read ({' '.join(str(error).split())}); mend it") from None
        for key, lines in _repeated_keys(root, "", set()):
            raise UserError(f"{path}: {key} stands there twice, in lines {lines[0]} and {lines[1]}; leave one of them")


def _repeated_keys(node: "yaml.Node | None", place: str, seen: set[int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """The dotted keys that a table has twice, with both lines; an anchor's table is looked into once."""
    if node is None or isinstance(node.value, str) or id(node) in seen:
        return
    seen.add(id(node))
    known: dict[str, int] = {}
    for number, item in enumerate(node.value):
        if not isinstance(item, tuple):
            yield from _repeated_keys(item, f"{place}[{number}]", seen)
            continue
        key, value = item
        name, line = str(key.value), key.start_mark.line + 1
        dotted = f"{place}.{name}" if place else name
        if name in known:
            yield dotted, (known[name], line)
        known[name] = line
        yield from _repeated_keys(value, dotted, seen)


def parse(raw: Mapping[str, Any]) -> Config:
    """Check the whole configuration; the first mistake is a `UserError` of one line."""
    if not isinstance(raw.get("studies"), Mapping):
        raise UserError(f"studies: {raw.get('studies')!r} is not allowed; allowed: a table of studies by name")
    studies: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in raw["studies"]:
        try:
            studies[name] = build(Study, _inherit(raw, name, ()), f"studies.{name}")
        except PartError as error:
            broken[name] = str(error)
    if broken and not studies:
        raise UserError(next(iter(broken.values())))
    config = build(Config, {**raw, "studies": studies}, "")
    config.broken.update(broken)
    known = [*map(str, raw["studies"]), *config.comparisons]
    if config.study not in known:
        raise UserError(f"study: {config.study!r} is not allowed; allowed: {', '.join(known)}")
    for name in (*config.datasets, *known):
        if not NAME.fullmatch(name) or name == "datasets":
            raise UserError(
                f"{_shortened(name)} is not allowed as the name of a study or data set; allowed: letters, digits, _ and -, at "
                "most 64, the first a letter or a digit"
            )
    for name, study in list(config.studies.items()):
        try:
            _check_study(config, study, f"studies.{name}")
        except PartError as error:
            config.broken[name] = str(error)
            del config.studies[name]
    for name, study in list(config.studies.items()):
        for other in (study.compare_clock_with, study.trajectories):
            if other in config.broken and name in config.studies:
                config.broken[name] = config.broken[other]
                del config.studies[name]
    for name, study in config.studies.items():
        if study.trajectories is not None:
            _check_trajectories(config, name, study)
    for name, comparison in config.comparisons.items():
        comparisons.check(name, comparison, config.studies, config.broken)
    return config


def _check_trajectories(config: Config, name: str, study: Study) -> None:
    """A study that trains nothing: each of its runs is one of the other's."""
    key, other = f"studies.{name}", config.studies.get(study.trajectories or "")
    if other is None or study.trajectories == name or other.trajectories is not None:
        allowed = ", ".join(one for one, its in config.studies.items() if its.trajectories is None and one != name)
        raise UserError(f"{key}.trajectories: {study.trajectories!r} is not allowed; allowed: {allowed}")
    if study.clock != "emulated":
        raise UserError(f"{key}.clock: {study.clock} is not allowed with trajectories; allowed: emulated")
    known = set(cells.all_cells(study.trajectories or "", other))
    for cell in cells.all_cells(name, study):
        if cell not in known:
            raise UserError(f"{key}.trajectories: study {study.trajectories} has no run {cell}; leave it out here")
    for line in dict.fromkeys(cell.strategy for cell in cells.all_cells(name, study)):
        difference = cells.difference_in_training(study, other, line)
        if difference:
            raise UserError(f"{key}: {difference}, with which the runs of study {study.trajectories} weren't trained")


def _shortened(name: str) -> str:
    return repr(name) if len(name) <= 60 else f"{name[:57]!r}..."


def _inherit(raw: Mapping[str, Any], name: str, seen: tuple[str, ...]) -> Any:
    """A study's own settings on top of those of the study it is `like`."""
    own = raw["studies"][name]
    if not isinstance(own, Mapping) or "like" not in own:
        return own
    base = own["like"]
    others = [other for other in raw["studies"] if other not in (*seen, name)]
    if base not in others:
        raise UserError(f"studies.{name}.like: {base!r} is not allowed; allowed: {', '.join(others)}")
    inherited = _inherit(raw, base, (*seen, name))
    if (
        isinstance(inherited, Mapping)
        and _kind("task", own.get("task")) != _kind("task", inherited.get("task"))
        and "task" in own
    ):
        inherited = {key: value for key, value in inherited.items() if key not in ("dataset", "model")}
    return _merge(inherited, {key: value for key, value in own.items() if key != "like"})


PARTS: dict[str, type[parts.Part]] = {"task": Task, "model": Model, "optimizer": Optimizer, "schedule": Schedule}


def _merge(base: Any, own: Any) -> Any:
    """Tables are merged key by key, but a list of strategies is one thing, and so is a part of another kind: they replace."""
    if not isinstance(base, Mapping) or not isinstance(own, Mapping):
        return own
    merged = {**base, **own}
    for key in base.keys() & own.keys() - {"strategies", "target", "network"}:
        ours, theirs = own[key], base[key]
        if key in PARTS:
            ours, theirs = ({"kind": value} if isinstance(value, str) else value for value in (ours, theirs))
            if _kind(key, ours) != _kind(key, theirs):
                continue
        merged[key] = _merge(theirs, ours)
    return merged


def _kind(key: str, table: Any) -> Any:
    """Which part is asked for."""
    return table.get("kind", PARTS[key].usual) if isinstance(table, Mapping) else table or PARTS[key].usual


def _check_study(config: Config, study: Study, key: str) -> None:
    """What no single field can know."""
    _check_samples(config, study, key)
    if study.timings is not None:
        try:
            timed.path_of(study.timings)
        except UserError as mistake:
            raise UserError(f"{key}.{mistake}") from None
    if study.compare_clock_with is not None and study.compare_clock_with not in config.broken:
        _check_comparison(config, study, key)
    target = study.training.target
    if isinstance(target, SequentialEpochs) and target.sequential_epochs > study.training.max_epochs:
        raise UserError(
            f"{key}.training.target.sequential_epochs: {target.sequential_epochs} is not allowed; "
            f"allowed: at most training.max_epochs, {study.training.max_epochs}"
        )
    both = sorted({*study.pilots} & {*at_most(study).all_seeds})
    if both:
        raise UserError(
            f"{key}.training.target.pilots: {both[0]} is not allowed; allowed: seeds that aren't among the study's"
        )
    if not study.strategies:
        raise UserError(f"{key}.strategies: none; allowed: at least one of {', '.join(parts.names(Strategy))}")
    if study.seeds == "auto" and study.training.target is None:
        raise UserError(f"{key}.seeds: auto is not allowed without a training.target; allowed: a list of seeds")
    if cells.seeks_edge(study):
        _check_edge(study, f"{key}.edge")
    for name, entry in study.strategies.items():
        _check_strategy(study, name, entry, f"{key}.strategies.{name}")
    tuned.check(study, key)


def _check_edge(study: Study, key: str) -> None:
    """The search for the edge needs to know where to begin, and seeds outside the comparison."""
    if study.edge.between is None:
        raise UserError(f"{key}.between: null is not allowed; allowed: two rates [LOW, HIGH], for learning_rate: edge")
    both = sorted({*study.edge.seeds} & {*at_most(study).all_seeds})
    if both:
        raise UserError(f"{key}.seeds: {both[0]} is not allowed; allowed: seeds that aren't among the study's")


def _check_samples(config: Config, study: Study, key: str) -> None:
    """A task on nodules needs a data set, and a model that its cubes fit; any other has its own model, and mostly its own data."""
    task = study.task
    if not task.takes_nodules and study.model != DeepDensity():
        raise UserError(f"{key}.model: not allowed; the task brings its own model: leave it out")
    if not (task.takes_nodules or isinstance(task, MaskTask)):
        if study.dataset is not None:
            raise UserError(
                f"{key}.dataset: {study.dataset!r} is not allowed; allowed: null, for the task brings its own samples"
            )
        return
    if study.dataset not in config.datasets:
        raise UserError(f"{key}.dataset: {study.dataset!r} is not allowed; allowed: {', '.join(config.datasets)}")
    cubes = config.datasets[study.dataset].cubes
    if isinstance(task, MaskTask) and not cubes.masks:
        masked = [name for name, dataset in config.datasets.items() if dataset.cubes.masks]
        raise UserError(
            f"{key}.dataset: {study.dataset!r} is not allowed with task {task.kind}; allowed: a data set with cubes.masks: true"
            f" ({', '.join(masked) or 'none here'})"
        )
    part, place = (task, "task") if isinstance(task, MaskTask) else (study.model, "model")
    try:
        with parts.blamed_on(type(part)):
            part.check(cubes.voxels)
    except PartError:
        raise
    except UserError as mistake:
        raise UserError(f"{key}.{place}.{mistake}") from None


def _check_comparison(config: Config, study: Study, key: str) -> None:
    others = [name for name, other in config.studies.items() if other.clock != study.clock]
    if study.compare_clock_with not in others:
        allowed = ", ".join(others) or "none here"
        raise UserError(
            f"{key}.compare_clock_with: {study.compare_clock_with!r} is not allowed; allowed: a study on the other clock: {allowed}"
        )


def _check_strategy(study: Study, name: str, entry: StrategyEntry, key: str) -> None:
    if name in (SEQUENTIAL, cells.PILOT) or cells.is_rate_name(name) or not LINE.fullmatch(name):
        place = key.removesuffix(name) + _shortened(name)
        raise UserError(
            f"{place}: this name is not allowed; allowed: letters, digits and _, at most 64, but not {SEQUENTIAL}, "
            f"{cells.PILOT} or {cells.RATE}..."
        )
    _check_seeds(study, name, entry, f"{key}.seeds")
    kind = parts.find(Strategy, entry.kind or name, f"{key}.kind" if entry.kind else key)
    strategy = build(kind, entry.parameters, f"{key}.parameters")
    _check_brought(strategy)
    try:
        cells.update_rule(entry.update, strategy)
    except UserError as mistake:
        raise UserError(f"{key}.{mistake}") from None
    for workers in study.workers_of(name):
        batch = check_workers(strategy, study.training, workers, key)
        size = cells.microbatch(study, name)
        if study.training.reduction == "exact" and workers > -(-batch // size):
            raise UserError(
                f"{key}: {workers} workers is not allowed for a minibatch of {batch} samples in micro-batches of {size} "
                f"(reduction: exact); allowed: at most {-(-batch // size)} workers, or a training.microbatch of at most {batch // workers}"
            )


def _check_seeds(study: Study, name: str, entry: StrategyEntry, key: str) -> None:
    """Seeds of its own has an entry of the matrix that there is, and whose number of seeds isn't left to looks."""
    if entry.seeds and study.seeds == "auto":
        raise UserError(f"{key}: not allowed with seeds: auto; leave it out")
    known = [str(workers) for workers in study.workers_of(name) if workers > 1]
    for workers, seeds in entry.seeds.items():
        if workers not in known:
            raise UserError(f"{key}: {workers!r} is not allowed; allowed: {', '.join(known)}")
        if not seeds:
            raise UserError(f"{key}.{workers}: [] is not allowed; allowed: at least one seed")


def _check_brought(strategy: Strategy) -> None:
    """The optimizer and the update rule that a strategy brings must be such; an update rule may go by its name or settings."""
    for base, others in ((Optimizer, ()), (Update, (str, Mapping))):
        method = f"strategy {strategy.kind}: {base.__name__.lower()}()"
        with parts.blamed():
            brought = getattr(strategy, base.__name__.lower())()
        if not isinstance(brought, (base, *others, type(None))):
            raise PartError(f"{method} gives {show(brought)}; allowed: an {base.__name__}, or None")
        if brought is not None:
            try:
                build(base, brought, method)
            except UserError as mistake:
                raise PartError(str(mistake)) from None
