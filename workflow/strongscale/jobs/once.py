"""Run a stage once, however often it is started: `python -m strongscale.jobs.once <receipt> --makes <file> ... --run <stage> ...`.

A job of a killed Snakemake goes on, or waits in the queue, while the next Snakemake submits it again. The second copy waits
for the first, finds what that has made of the same command and the same inputs, and only writes the receipt.
"""

import argparse
import hashlib
import importlib
import importlib.util
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.lock import locked
from strongscale.jobs import receipts

log = logging.getLogger(__name__)

PATIENCE_S = 7 * 86400.0  # the other copy may work for as long as a job may
READ_WHOLE_BYTES = 100_000_000  # larger inputs are known by their size and time


def identity(command: Sequence[str], inputs: Sequence[Path]) -> str:
    """A digest of what is run, and of what it reads: small files whole, scans by name, size and time."""
    told = hashlib.sha256(json.dumps(list(command)).encode())
    for path in inputs:
        told.update(f"\0{path}\0".encode())
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            told.update(_known_by(file, whole=not path.is_dir()).encode())
    return told.hexdigest()


def _known_by(file: Path, *, whole: bool) -> str:
    state = file.stat()
    if whole and state.st_size <= READ_WHOLE_BYTES:
        return receipts.digest(file)
    return f"{file} {state.st_size} {state.st_mtime_ns}\n"


def is_made(record: Path, wanted: str, makes: Sequence[Path]) -> bool:
    """Whether a run with this identity has made these files, and they are as it left them."""
    try:
        known = read_json(record)
        return bool(known["identity"] == wanted and known["files"] == receipts.digests(makes))
    except (UserError, OSError, KeyError, TypeError):
        return False


def main(arguments: list[str]) -> None:
    """Run a stage, unless it has made just this already; then write the receipt."""
    parser = argparse.ArgumentParser(prog="strongscale.jobs.once", description=main.__doc__)
    parser.add_argument("receipt", type=Path, help="what Snakemake is told of it")
    parser.add_argument("--inputs", nargs="*", type=Path, default=[], help="files and folders that the stage reads")
    parser.add_argument("--makes", nargs="+", type=Path, required=True, help="files and folders that it writes")
    parser.add_argument("--run", nargs=argparse.REMAINDER, required=True, help="the stage and its arguments")
    options = parser.parse_args(arguments)
    stage, *rest = options.run
    make_once(options.receipt, options.inputs, options.makes, stage, rest)


def make_once(receipt: Path, inputs: Sequence[Path], makes: Sequence[Path], stage: str, arguments: list[str]) -> None:
    """The same; the record beside the receipts, which Snakemake doesn't know, tells what was made of what."""
    folder = receipt.parent / "records" / receipt.stem
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "record.json"
    with locked(folder, PATIENCE_S):
        wanted = identity([stage, *arguments], inputs)
        if is_made(record, wanted, makes):
            log.info("made already, of the same inputs: %s", ", ".join(map(str, makes)))
        else:
            record.unlink(missing_ok=True)
            _main_of(stage)(arguments)
            write_json(record, {"identity": wanted, "files": receipts.digests(makes)})
        receipts.write(receipt, makes)


def _main_of(stage: str) -> Callable[[list[str]], None]:
    """What `python -m strongscale.<stage>` runs."""
    spec = importlib.util.find_spec(f"strongscale.{stage}")
    if spec is None:
        raise UserError(f"--run: no stage {stage!r}; allowed: a module of the package with a command line")
    is_package = spec.submodule_search_locations is not None
    module: Any = importlib.import_module(f"{spec.name}.__main__" if is_package else spec.name)
    main: Callable[[list[str]], None] = module.main
    return main


if __name__ == "__main__":
    run(main)
