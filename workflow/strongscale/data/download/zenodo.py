"""Where LUNA16 lies on Zenodo, with checksums that are pinned the first time they are seen."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.lock import locked
from strongscale.data.download.transfer import Client, RemoteFile, Unreachable, fetch_json

log = logging.getLogger(__name__)

API = "https://zenodo.org/api"
LOCK_NAME = "luna16.lock.json"
RECORDS = {f"subset{number}.zip": "3723295" if number < 7 else "4121926" for number in range(10)} | {
    "annotations.csv": "3723295",
    "evaluationScript.zip": "3723295",
}


def find(key: str, folder: Path, api: str, client: Client) -> RemoteFile:
    """Where a file lies; its checksum must be the one pinned in the folder, which also serves while the API is down."""
    pinned = _read_lock(folder).get(key)
    # Who has the pinned address needn't wait long for the API.
    asker = client if pinned is None else replace(client, patience=replace(client.patience, attempts=2))
    try:
        remote = _ask(key, api, asker)
    except Unreachable as error:
        if pinned is None:
            raise
        log.warning("%s; going on with %s", error, folder / LOCK_NAME)
        return pinned
    _pin(remote, folder)
    return remote


def _ask(key: str, api: str, client: Client) -> RemoteFile:
    """What the record's API says of a file, in Zenodo's form or InvenioRDM's own."""
    url = f"{api.rstrip('/')}/records/{RECORDS[key]}"
    answer = fetch_json(url, client)
    try:
        files = answer["files"]
        entries = list(files["entries"].values()) if isinstance(files, dict) else files
        entry = next((entry for entry in entries if entry["key"] == key), None)
        if entry is None:
            raise UserError(f"{url}: the record has no file {key}; load it by hand")
        return _remote_file(key, entry)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{url}: the answer isn't understood ({error!r}); load {key} by hand") from None


def _remote_file(key: str, entry: dict[str, Any]) -> RemoteFile:
    links = entry["links"]
    # InvenioRDM's `self` is a description of the file, with its `content` beside; Zenodo's is the content.
    url = links.get("content") or links.get("download") or links["self"]
    md5 = str(entry["checksum"]).removeprefix("md5:").lower()
    if not re.fullmatch("[0-9a-f]{32}", md5):
        raise ValueError(f"checksum {entry['checksum']}")
    return RemoteFile(key, str(url), int(entry["size"]), md5)


def _read_lock(folder: Path) -> dict[str, RemoteFile]:
    path = folder / LOCK_NAME
    if not path.exists():
        return {}
    try:
        return {
            key: RemoteFile(key, entry["url"], entry["size_bytes"], entry["md5"])
            for key, entry in read_json(path).items()
        }
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{path}: not in the form it was written; remove it to pin the checksums anew") from None


def _pin(remote: RemoteFile, folder: Path) -> None:
    """Remember a checksum, or refuse another one than the remembered; runs for other files may do so at the same time."""
    path = folder / LOCK_NAME
    with locked(folder):
        entries = _read_lock(folder)
        pinned = entries.setdefault(remote.key, remote)
        if (pinned.digest, pinned.size_bytes) != (remote.digest, remote.size_bytes):
            raise UserError(
                f"{path}: {remote.key} has md5 {pinned.digest} ({pinned.size_bytes} bytes) there, but record "
                f"{RECORDS[remote.key]} now says {remote.digest} ({remote.size_bytes} bytes); if the new file is "
                "wanted, remove its entry there and run again"
            )
        if pinned is remote:
            write_json(path, {key: _entry(entry) for key, entry in sorted(entries.items())})


def _entry(remote: RemoteFile) -> dict[str, Any]:
    """What is remembered of a file."""
    return {
        "key": remote.key,
        "record": RECORDS[remote.key],
        "url": remote.url,
        "size_bytes": remote.size_bytes,
        "md5": remote.digest,
    }
