"""A record like LUNA16's on a server of this machine that has faults on request."""

import hashlib
import json

import numpy as np
import pytest
from http_server import Fault, FaultyServer
from test_archive import zip_bytes

from strongscale.data.download import __main__ as download
from strongscale.data.download import zenodo
from strongscale.data.download.transfer import Client, Patience

BROKEN = Fault(break_after=100_000)
BUSY = Fault(status=503)
SUBSETS = {"subset3.zip": "3723295", "subset8.zip": "4121926"}


def entry(server, key, link="self", md5=None):
    """A file as the API lists it, and as the server holds it."""
    content = server.files[f"/{key}"]
    checksum = f"md5:{md5 or hashlib.md5(content).hexdigest()}"
    return {"key": key, "size": len(content), "checksum": checksum, "links": {link: f"{server.url}/{key}"}}


def list_all(server):
    """Let the API list all files."""
    keys = [path[1:] for path in server.files if not path.startswith("/api")]
    for record in ("3723295", "4121926"):
        server.add_record(record, [entry(server, key) for key in keys if zenodo.RECORDS[key] == record])


def scans(number):
    """A subset of one scan that doesn't compress."""
    voxels = np.random.default_rng(number).bytes(300_000)
    return {f"{number}.mhd": b"header", f"{number}.raw": voxels}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FaultyServer() as running:
        for number in (3, 8):
            members = {f"subset{number}/{name}": content for name, content in scans(number).items()}
            running.files[f"/subset{number}.zip"] = zip_bytes(members)
        running.files["/annotations.csv"] = b"seriesuid,coordX\n"
        running.files["/evaluationScript.zip"] = zip_bytes(
            {"evaluationScript/annotations/annotations_excluded.csv": b"x\n"}
        )
        list_all(running)
        yield running


@pytest.fixture
def waits():
    """The waits that were asked for, in seconds."""
    return []


@pytest.fixture
def fetch(server, tmp_path, waits):
    """A function that downloads an item to <tmp_path>/data and returns its marker."""

    def fetch_item(item="subset3", *options, folder=tmp_path / "data", **patience):
        patient = Patience(**({"attempts": 4, "sleep": waits.append, "now": lambda: 1e9} | patience))
        marker = tmp_path / f"{item}.marker.json"
        arguments = ["--folder", folder, "--item", item, "--marker", marker, "--api", f"{server.url}/api", *options]
        download.main([str(argument) for argument in arguments], Client(patient))
        return json.loads(marker.read_text())

    return fetch_item


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def part_of(server, data, num_bytes, key="subset3.zip"):
    """What a killed run has left of an archive."""
    (data / f"{key}.part").write_bytes(server.files[f"/{key}"][:num_bytes])
