"""A study that hasn't begun: what config.yaml says of it, and how far the data set is that it waits for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongscale.common.errors import UserError
from strongscale.settings.config import Config, Study
from strongscale.settings.datasets import WHOLE, Dataset

OWN_TREE = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the way from scans to a data set."""

    what: str
    done: int
    of: int


def find(folder: Path) -> tuple[str, Study, Dataset | None]:
    """The name and the settings of the study that will lie in this folder, and those of the data set it is made of, if any."""
    name, config = folder.absolute().name, _read_config(folder)
    if config is not None and name in config.broken:
        raise UserError(config.broken[name])
    if config is None or name not in config.studies:
        made = {path.parent.name for path in folder.absolute().parent.glob("*/study.json")}
        known = ", ".join(sorted(made | set(config.studies if config else ()))) or "none here"
        raise UserError(f"{folder}: no study of this name, and no study.json in it; the studies there are: {known}")
    study = config.studies[name]
    return name, study, config.datasets[study.dataset] if study.dataset else None


def members(folder: Path) -> list[Path]:
    """The folders of a comparison's studies; of a study, its own."""
    folder = folder.absolute()
    config = None if (folder / "study.json").exists() else _read_config(folder)
    if config is None or folder.name not in config.comparisons:
        return [folder]
    return [folder.parent / name for name in config.comparisons[folder.name].studies.values()]


def _read_config(folder: Path) -> Config | None:
    """config.yaml beside results/, else this tree's; None where it can't be read, for there may be no yaml."""
    try:
        import yaml
    except ImportError:
        return None
    from strongscale.settings.config_file import parse

    for place in (folder.absolute().parent.parent, OWN_TREE):
        path = place / "config.yaml"
        try:
            raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{path}: can't be read ({' '.join(str(error).split())}); mend it") from None
        try:
            return parse(raw if isinstance(raw, dict) else {})
        except UserError as mistake:
            raise UserError(f"{path}: {mistake}") from None
    return None


def steps(folder: Path, dataset: Dataset | None) -> tuple[Step, ...]:
    """How far a data set is, by the files in its folder that its rules end with; of a task's own samples, whether they are made."""
    if dataset is None:
        return (Step(what="samples", done=int((folder / "dataset.json").exists()), of=1),)
    subsets = dataset.subset_names
    cubes = [f"cubes/{subset}.{part}.csv" for subset in subsets for part in range(dataset.jobs_per_subset)]
    found = [("cubes", cubes), ("ledger", ["ledger.csv"]), ("data set", ["dataset.json"])]
    if dataset.download == "lidc":
        found.insert(0, ("download", ["download/lidc.json"]))
    elif dataset.download:
        names = ["annotations.csv", *([] if dataset.cubes.minimum_readers == 3 else ["annotations_excluded.csv"])]
        found.insert(0, ("download", [f"download/{name}.json" for name in [*names, *subsets]]))
    elif dataset.phantom:  # Snakemake marks a folder that is whole
        found.insert(0, ("scans", [f"scans/{subset}/.snakemake_timestamp" for subset in subsets]))
    else:
        scans = Path(dataset.folder or "")
        places = [scans if subset == WHOLE else scans / subset for subset in subsets]
        found.insert(0, ("scans", [str(place.absolute()) for place in places]))
    return tuple(
        Step(what=what, done=sum((folder / name).exists() for name in names), of=len(names)) for what, names in found
    )


def newest_log(folder: Path) -> str | None:
    """The log that was written to last: of what is being made, or failed."""
    logs = []
    for path in (folder / "logs").glob("*.log"):
        try:
            logs.append((path.stat().st_mtime, str(path)))
        except OSError:
            continue
    return max(logs)[1] if logs else None
