"""Download one item of LUNA16 from Zenodo, or the crops of LIDC-IDRI; what a user put there is used as it is."""

import argparse
import contextlib
import datetime
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.common.lock import locked
from strongscale.data.download import archive, lidc, zenodo
from strongscale.data.download.transfer import Client, RemoteFile, digest_of, load

log = logging.getLogger(__name__)

SOURCES = {f"subset{number}": f"subset{number}.zip" for number in range(10)} | {
    "annotations.csv": "annotations.csv",
    "annotations_excluded.csv": "evaluationScript.zip",
}
UNPACKED_GROWTH = 2  # a guess ahead of the download; the zip's directory tells exactly
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def main(arguments: list[str], client: Client | None = None) -> None:
    """Download one item of LUNA16, or all crops of LIDC-IDRI, and write a marker that says where it came from."""
    parser = argparse.ArgumentParser(prog="strongscale.data.download", description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the item shall lie")
    parser.add_argument("--item", choices=[*SOURCES, lidc.ITEM], required=True)
    parser.add_argument("--marker", type=Path, required=True, help="JSON file, written last")
    parser.add_argument("--log", type=Path, help="write the log there too; the progress bar stays on the terminal")
    parser.add_argument("--api", default=zenodo.API, help="address of the records' API (default: %(default)s)")
    source = os.environ.get(lidc.VARIABLE) or lidc.PUBLIC
    parser.add_argument("--source", default=source, help="address or folder of the crops (default: %(default)s)")
    parser.add_argument("--keep-archives", action="store_true", help="keep the zip beside what it holds")
    options = parser.parse_args(arguments)
    if options.log:
        logging.getLogger().addHandler(logging.FileHandler(options.log, mode="w"))
    try:
        if options.item == lidc.ITEM:
            marker = lidc.obtain(options.folder, options.source, client or Client())
        else:
            marker = obtain(options.item, options.folder, options.api, client or Client(), options.keep_archives)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise UserError(f"{options.folder}: the disk is full; free some space and run again to go on") from None
    write_json(options.marker, marker)


def obtain(item: str, folder: Path, api: str, client: Client, keep_archive: bool) -> dict[str, Any]:
    """Make sure that <folder>/<item> is there, whole; what the marker says of it."""
    target, work_path = folder / item, folder / f".{item}.unpacking"
    if not _is_there(target) or work_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with _work_folder(work_path) as work:
            if not _is_there(target):  # another run may just have ended
                return _obtain(target, work, api, client, keep_archive)
    log.info("%s is there and used as it is", target)
    # Left by a run that was killed just after the item got its name.
    _part(folder, SOURCES[item]).unlink(missing_ok=True)
    return {"item": item, "already_there": True}


def _obtain(target: Path, work: Path, api: str, client: Client, keep_archive: bool) -> dict[str, Any]:
    folder, key = target.parent, SOURCES[target.name]
    remote = zenodo.find(key, folder, api, client)
    if key == target.name:
        _load_part(remote, folder, client).rename(target)
    else:
        own = _own_archive(remote, folder)
        source = own or _load_part(remote, folder, client)
        if own is None and keep_archive:
            source = own = source.rename(folder / key)
        log.info("unpacking %s", source)
        (archive.extract if target.suffix else archive.unpack)(source, target, work)
        if own is None:
            source.unlink()
    return {
        "item": target.name,
        "record": zenodo.RECORDS[key],
        "url": remote.url,
        "files": [{"name": key, "size_bytes": remote.size_bytes, "md5": remote.digest}],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _is_there(target: Path) -> bool:
    """Whether the item is there; something of its name that can't be it is the user's to mend."""
    if target.is_symlink() and not target.exists():
        raise UserError(f"{target}: a link to nothing; mend it or remove it to download the item")
    if not target.exists():
        return False
    if target.is_dir() == bool(target.suffix):
        raise UserError(f"{target}: a {'folder' if target.is_dir() else 'file'} of that name is in the way; move it")
    if target.is_dir() and not any(target.iterdir()):
        raise UserError(f"{target}: an empty folder; put the scans there or remove it to download them")
    return True


@contextlib.contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """A hidden folder for one run at a time, emptied of what a killed run left; nothing remains of it."""
    path.mkdir(exist_ok=True)
    try:
        with locked(path):
            for leftover in path.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                elif leftover.name != "lock":
                    leftover.unlink()
            yield path
    finally:
        with contextlib.suppress(OSError):  # not empty: another run has it
            path.rmdir()


def _part(folder: Path, key: str) -> Path:
    return folder / f"{key}.part"


def _load_part(remote: RemoteFile, folder: Path, client: Client) -> Path:
    """The whole remote file, still named as a part."""
    part = _part(folder, remote.key)
    there_bytes = part.stat().st_size if part.exists() else 0
    needed_bytes = max(remote.size_bytes - there_bytes, 0)
    if remote.key.endswith(".zip"):
        needed_bytes += UNPACKED_GROWTH * remote.size_bytes
    archive.require_space(folder, needed_bytes, f"what is still to load of {remote.key}, with what it unpacks to,")
    load(remote, part, client)
    return part


def _own_archive(remote: RemoteFile, folder: Path) -> Path | None:
    """The zip if it lies there whole, put by the user or kept; it is never removed."""
    path = folder / remote.key
    if not path.exists():
        return None
    if path.stat().st_size != remote.size_bytes or digest_of(path) != remote.digest:
        raise UserError(
            f"{path}: not the {remote.size_bytes} bytes with md5 {remote.digest} of record {zenodo.RECORDS[remote.key]}; "
            "finish or remove it and run again"
        )
    return path


if __name__ == "__main__":
    run(main)
