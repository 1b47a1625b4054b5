"""Crops around 994 nodules of LIDC-IDRI with their masks: from a public repository, or another place that holds them."""

import contextlib
import csv
import datetime
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from strongscale.common.errors import UserError
from strongscale.common.files import atomic
from strongscale.common.lock import locked
from strongscale.data.download import archive
from strongscale.data.download.lidc_annotations import describe
from strongscale.data.download.progress import progress
from strongscale.data.download.transfer import Client, RemoteFile, digest_of, load

log = logging.getLogger(__name__)

ITEM = "lidc"
COMMIT = "07d32abf6d8b8f1c61a0dccb685affa29b1512af"
PUBLIC = f"https://raw.githubusercontent.com/PabloLION/ct-slicing/{COMMIT}/data/VOIs"
VARIABLE = "STRONGSCALE_LIDC"
"""Another place of the same files: an address like that, or a folder."""
TABLE = Path(__file__).with_name("lidc.csv")
NUM_CONNECTIONS = 8
PATIENCE_S = 86400.0  # another data set of the same folder may be loading it
PLACES = {"subset0": ("image", "images"), "masks": ("nodule_mask", "masks")}
"""Folders of a data set, and what they are called at the source; in a folder of the user's either name will do."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A file of the data set, and how to know it."""

    place: str
    name: str
    size_bytes: int
    sha256: str

    def path(self, folder: Path) -> Path:
        """Where it lies in a data set's folder."""
        return folder / self.place / self.name


def obtain(folder: Path, source: str, client: Client, table: Path = TABLE) -> dict[str, Any]:
    """Make sure that all crops, their masks and annotations.csv are there, which comes last; what the marker says of it."""
    crops = read_crops(table)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, PATIENCE_S):
        missing = [crop for crop in crops if not _is_there(crop, folder)]
        if missing:
            _fetch(missing, folder, source, client)
        listed = (folder / "annotations.csv").exists()
        if not listed:
            describe(folder, [crop.name for crop in crops if crop.place == "masks"])
    if not missing and listed:
        log.info("%s: all %d files are there", folder, len(crops))
        return {"item": ITEM, "already_there": True}
    return {
        "item": ITEM,
        "source": source,
        "num_files": len(missing),
        "size_bytes": sum(crop.size_bytes for crop in missing),
        "table_sha256": digest_of(table, "sha256"),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def read_crops(table: Path) -> list[Crop]:
    """The files that there are, by the project's own table."""
    with table.open(encoding="utf-8", newline="") as file:
        return [
            Crop(
                place=place,
                name=f"{row['id']}.nii.gz",
                size_bytes=int(row[f"{kind}_bytes"]),
                sha256=row[f"{kind}_sha256"],
            )
            for row in csv.DictReader(file)
            for place, kind in (("subset0", "image"), ("masks", "mask"))
        ]


def _is_there(crop: Crop, folder: Path) -> bool:
    """Whether a file is there, whole; another one of its name is the user's to mend."""
    path = crop.path(folder)
    if not path.exists():
        return False
    if (found := digest_of(path, "sha256")) != crop.sha256:
        raise UserError(f"{path}: its sha256 is {found} instead of {crop.sha256}; remove it and run again")
    return True


def _fetch(crops: Sequence[Crop], folder: Path, source: str, client: Client) -> None:
    """Copy or load files, several at once; those that are whole stay, whatever comes after."""
    num_bytes = sum(crop.size_bytes for crop in crops)
    archive.require_space(folder, num_bytes, "what is missing of the crops")
    for place in PLACES:
        (folder / place).mkdir(exist_ok=True)
    is_address = source.startswith(("http://", "https://"))
    with progress("crops of LIDC-IDRI", num_bytes, 0) as show:
        if not is_address:
            _copy(crops, folder, Path(source), _adding(show))
            return
        with _parts(folder) as parts:

            def load_share(share: Iterator[Crop]) -> None:
                own = replace(client, session=requests.Session())  # a session is of one thread
                for crop in share:
                    _load(crop, folder, source, own, parts)
                    tell(crop.size_bytes)

            tell = _adding(show)
            _share_out(crops, load_share)


def _adding(show: Callable[[int], None]) -> Callable[[int], None]:
    """A function that adds up, from several threads, what it is told."""
    lock, there_bytes = threading.Lock(), 0

    def add(num_bytes: int) -> None:
        nonlocal there_bytes
        with lock:
            there_bytes += num_bytes
            show(there_bytes)

    return add


def _share_out(crops: Sequence[Crop], work: Callable[[Iterator[Crop]], None]) -> None:
    """Deal files out to threads; after the first failure none begins another file."""
    stop = threading.Event()

    def until_stopped(share: Sequence[Crop]) -> Iterator[Crop]:
        for crop in share:
            if stop.is_set():
                return
            yield crop

    def take(share: Sequence[Crop]) -> None:
        try:
            work(until_stopped(share))
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
        taken = [pool.submit(take, crops[number::NUM_CONNECTIONS]) for number in range(NUM_CONNECTIONS)]
        try:
            for share in taken:
                share.result()
        except BaseException:  # Ctrl-C too
            stop.set()
            raise


def _load(crop: Crop, folder: Path, base: str, client: Client, parts: Path) -> None:
    url = f"{base.rstrip('/')}/{PLACES[crop.place][0]}/{crop.name}"
    remote = RemoteFile(crop.name, url, crop.size_bytes, crop.sha256, "sha256")
    part = parts / f"{crop.place}.{crop.name}.part"
    load(remote, part, client, show=lambda _: None)
    part.replace(crop.path(folder))


@contextlib.contextmanager
def _parts(folder: Path) -> Iterator[Path]:
    """A hidden folder for what is half loaded; it stays while there is something to go on with."""
    path = folder / f".{ITEM}.parts"
    path.mkdir(exist_ok=True)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()


def _copy(crops: Sequence[Crop], folder: Path, source: Path, tell: Callable[[int], None]) -> None:
    """Copy files of a folder, once it is known to hold them all."""
    paths = {crop: _in_folder(source, crop) for crop in crops}
    lacking = [path for path in paths.values() if not path.is_file()]
    if lacking:
        raise UserError(
            f"{source}: lacks {len(lacking)} of {len(crops)} files, {lacking[0]} first; {VARIABLE} is a folder with "
            "images and masks (or image and nodule_mask), or an address"
        )
    for crop, path in paths.items():
        with atomic(crop.path(folder)) as temporary:
            shutil.copyfile(path, temporary)
            if (found := digest_of(temporary, "sha256")) != crop.sha256:
                raise UserError(f"{path}: its sha256 is {found} instead of {crop.sha256}; copy it anew")
        tell(crop.size_bytes)


def _in_folder(source: Path, crop: Crop) -> Path:
    names = PLACES[crop.place]
    return source / next((name for name in names if (source / name).is_dir()), names[-1]) / crop.name
