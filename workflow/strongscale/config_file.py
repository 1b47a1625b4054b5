"""config.yaml: studies that are like others, and what no single setting can know."""

from collections.abc import Mapping
from typing import Any

from strongscale.config import SEQUENTIAL, Config, SequentialEpochs, StrategyEntry, Study
from strongscale.errors import UserError
from strongscale.schema import build
from strongscale.strategies import named, names


def parse(raw: Mapping[str, Any]) -> Config:
    """Check the whole configuration; the first mistake is a `UserError` of one line."""
    if not isinstance(raw.get("studies"), Mapping):
        raise UserError(f"studies: {raw.get('studies')!r} is not allowed; allowed: a table of studies by name")
    studies = {name: _inherit(raw, name, ()) for name in raw["studies"]}
    config = build(Config, {**raw, "studies": studies}, "")
    if config.study not in config.studies:
        raise UserError(f"study: {config.study!r} is not allowed; allowed: {', '.join(config.studies)}")
    for name in (*config.datasets, *config.studies):
        if not all(letter.isalnum() or letter in "_-" for letter in name) or name == "datasets":
            raise UserError(
                f"{name!r} is not allowed as the name of a study or data set; allowed: letters, digits, _ and -"
            )
    for name, study in config.studies.items():
        _check_study(config, study, f"studies.{name}")
    return config


def _inherit(raw: Mapping[str, Any], name: str, seen: tuple[str, ...]) -> Any:
    """A study's own settings on top of those of the study it is `like`."""
    own = raw["studies"][name]
    if not isinstance(own, Mapping) or "like" not in own:
        return own
    base = own["like"]
    others = [other for other in raw["studies"] if other not in (*seen, name)]
    if base not in others:
        raise UserError(f"studies.{name}.like: {base!r} is not allowed; allowed: {', '.join(others)}")
    return _merge(_inherit(raw, base, (*seen, name)), {key: value for key, value in own.items() if key != "like"})


def _merge(base: Any, own: Any) -> Any:
    """Tables are merged key by key, but a list of strategies is one thing: it replaces the other."""
    if not isinstance(base, Mapping) or not isinstance(own, Mapping):
        return own
    merged = {**base, **own}
    for key in base.keys() & own.keys() - {"strategies", "target", "network"}:
        merged[key] = _merge(base[key], own[key])
    return merged


def _check_study(config: Config, study: Study, key: str) -> None:
    """What no single field can know."""
    if study.dataset not in config.datasets:
        raise UserError(f"{key}.dataset: {study.dataset!r} is not allowed; allowed: {', '.join(config.datasets)}")
    if study.compare_clock_with is not None:
        _check_comparison(config, study, key)
    width = study.model.code_width(config.datasets[study.dataset].cubes.voxels)
    if width < 1:
        raise UserError(
            f"{key}.model.kernels: {list(study.model.kernels)} leave {width} voxels of a cube; allowed: at least 1"
        )
    target = study.training.target
    if isinstance(target, SequentialEpochs) and target.sequential_epochs > study.training.max_epochs:
        raise UserError(
            f"{key}.training.target.sequential_epochs: {target.sequential_epochs} is not allowed; "
            f"allowed: at most training.max_epochs, {study.training.max_epochs}"
        )
    if not study.strategies:
        raise UserError(f"{key}.strategies: none; allowed: at least one of {', '.join(names())}")
    if study.training.learning_rate == "edge" and not study.edge.rates:
        raise UserError(f"{key}.edge.rates: [] is not allowed; allowed: at least one rate, for learning_rate: edge")
    for name, entry in study.strategies.items():
        _check_strategy(study, name, entry, f"{key}.strategies.{name}")


def _check_comparison(config: Config, study: Study, key: str) -> None:
    others = [name for name, other in config.studies.items() if other.clock != study.clock]
    if study.compare_clock_with not in others:
        allowed = ", ".join(others) or "none here"
        raise UserError(
            f"{key}.compare_clock_with: {study.compare_clock_with!r} is not allowed; allowed: a study on the other clock: {allowed}"
        )


def _check_strategy(study: Study, name: str, entry: StrategyEntry, key: str) -> None:
    if name == SEQUENTIAL or name.startswith("rate_") or not name.isidentifier():
        raise UserError(
            f"{key}: this name is not allowed; allowed: letters, digits and _, but not {SEQUENTIAL} or rate_..."
        )
    if (entry.kind or name) not in names():
        place = f"{key}.kind" if entry.kind else key
        raise UserError(f"{place}: no strategy {entry.kind or name!r}; allowed: {', '.join(names())}")
    strategy = build(named(entry.kind or name), entry.parameters, f"{key}.parameters")
    for workers in study.workers_of(name):
        batch = strategy.minibatch(study.training.batch_size, workers, 0)
        if workers > batch:
            raise UserError(
                f"{key}: {workers} workers is not allowed for a minibatch of {batch} samples; allowed: at most one worker a sample"
            )
        size = study.training.microbatch
        if study.training.reduction == "exact" and workers > -(-batch // size):
            raise UserError(
                f"{key}: {workers} workers is not allowed for a minibatch of {batch} samples in micro-batches of {size} "
                f"(reduction: exact); allowed: at most {-(-batch // size)} workers, or a training.microbatch of at most {batch // workers}"
            )
