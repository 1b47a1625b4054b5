"""The crops of LIDC-IDRI arrive whole, from a server or a folder, and their annotations are made of their masks."""

import csv
import hashlib
import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from http_server import Fault, FaultyServer
from mask_fixtures import SPACING_MM, ball, write_nodule
from test_archive import files_of

from strongscale.common.errors import UserError
from strongscale.data.download import __main__ as download
from strongscale.data.download import lidc
from strongscale.data.download.transfer import Client, Patience
from strongscale.settings.datasets import Cubes, Dataset
from strongscale.status import planned

NAMES = ("A_R_1", "A_R_2", "B_R_1")
FILES = {f"{place}/{name}.nii.gz" for place in ("subset0", "masks") for name in NAMES} | {"annotations.csv"}
PUBLISHED = {"subset0": "image", "masks": "nodule_mask"}


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """What is published, as a data set's folder has it, and the table of it."""
    folder = tmp_path_factory.mktemp("published")
    for number, name in enumerate(NAMES):
        write_nodule(folder, name, ball(centre=(20, 18, 7 + number), radius_mm=4.0 + number), number)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image_bytes", "image_sha256", "mask_bytes", "mask_sha256"])
        for name in NAMES:
            contents = [(folder / place / f"{name}.nii.gz").read_bytes() for place in PUBLISHED]
            told = [[len(content), hashlib.sha256(content).hexdigest()] for content in contents]
            writer.writerow([name, *told[0], *told[1]])
    return folder


@pytest.fixture
def server(crops, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FaultyServer() as running:
        for place, published in PUBLISHED.items():
            for path in (crops / place).iterdir():
                running.files[f"/VOIs/{published}/{path.name}"] = path.read_bytes()
        yield running


@pytest.fixture
def obtain(crops, server, tmp_path):
    """A function that fetches the crops to <tmp_path>/data, from the server unless told otherwise."""

    def obtain_crops(source=None):
        client = Client(Patience(attempts=3, sleep=lambda _: None))
        return lidc.obtain(tmp_path / "data", str(source or f"{server.url}/VOIs/"), client, crops / "table.csv")

    return obtain_crops


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def source_folder(crops, target, names):
    """A folder that holds the same files under other names."""
    for place, name in zip(PUBLISHED, names, strict=True):
        shutil.copytree(crops / place, target / name)
    return target


def test_crops_and_masks_come_as_they_were_published(obtain, crops, data):
    marker = obtain()
    assert files_of(data).keys() == FILES
    for place in PUBLISHED:
        assert files_of(data / place) == files_of(crops / place)
    assert (marker["item"], marker["num_files"]) == ("lidc", 6)


def test_annotations_are_the_masks_centres_and_volumes(obtain, data):
    obtain()
    with (data / "annotations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "patient"]
    assert [(row["seriesuid"], row["patient"]) for row in rows] == [("A_R_1", "A"), ("A_R_2", "A"), ("B_R_1", "B")]
    volume_mm3 = ball(radius_mm=4.0).sum() * np.prod(SPACING_MM)
    # The grid's origin is (-10, 20, -30) mm in LPS, the ball's centre voxel (20, 18, 7).
    assert [rows[0][name] for name in ("coordX", "coordY", "coordZ")] == ["4.000", "34.400", "-16.000"]
    assert rows[0]["diameter_mm"] == f"{(6 * volume_mm3 / np.pi) ** (1 / 3):.2f}"


def test_what_is_there_is_not_loaded_again(obtain, server, data):
    obtain()
    asked = len(server.requests)
    assert obtain() == {"item": "lidc", "already_there": True}
    (data / "masks" / "A_R_2.nii.gz").unlink()
    assert obtain()["num_files"] == 1
    assert [path for path, _ in server.requests[asked:]] == ["/VOIs/nodule_mask/A_R_2.nii.gz"]


def test_a_broken_connection_is_tried_again(obtain, server, data):
    path = "/VOIs/image/B_R_1.nii.gz"
    server.faults[path] = [Fault(break_after=5000)]
    obtain()
    assert len(server.ranges(path)) == 2
    assert files_of(data).keys() == FILES


def test_a_part_of_an_earlier_run_is_gone_on_with(obtain, server, crops, data):
    (data / ".lidc.parts").mkdir(parents=True)
    content = (crops / "subset0" / "A_R_1.nii.gz").read_bytes()
    (data / ".lidc.parts" / "subset0.A_R_1.nii.gz.part").write_bytes(content[:777])
    obtain()
    assert server.ranges("/VOIs/image/A_R_1.nii.gz") == ["bytes=777-"]
    assert files_of(data).keys() == FILES


def test_bytes_that_differ_are_refused_by_name_and_digest(obtain, server, data):
    path = "/VOIs/nodule_mask/A_R_2.nii.gz"
    expected = hashlib.sha256(server.files[path]).hexdigest()
    server.files[path] = bytes(len(server.files[path]))
    found = hashlib.sha256(server.files[path]).hexdigest()
    with pytest.raises(UserError, match=f"{path}: its sha256 is {found} instead of {expected}, loaded twice") as caught:
        obtain()
    assert "\n" not in str(caught.value)
    assert "masks/A_R_2.nii.gz" not in files_of(data) and not (data / "annotations.csv").exists()
    assert set(files_of(data)) <= FILES


def test_a_file_the_server_lacks_is_named_at_once(obtain, server, data):
    del server.files["/VOIs/image/A_R_1.nii.gz"]
    with pytest.raises(UserError, match=r"/VOIs/image/A_R_1\.nii\.gz: the server answers 404"):
        obtain()
    assert not (data / "annotations.csv").exists()


@pytest.mark.parametrize("names", [("images", "masks"), ("image", "nodule_mask")])
def test_a_folder_is_a_source_too(obtain, server, crops, data, tmp_path, names):
    obtain(source_folder(crops, tmp_path / "source", names))
    assert files_of(data).keys() == FILES
    assert not server.requests


def test_a_folder_that_lacks_files_is_named_before_anything_is_copied(obtain, crops, data, tmp_path):
    source = source_folder(crops, tmp_path / "source", ("images", "masks"))
    (source / "masks" / "A_R_2.nii.gz").unlink()
    with pytest.raises(UserError, match=r"source: lacks 1 of 6 files, .*masks/A_R_2\.nii\.gz first"):
        obtain(source)
    assert not files_of(data)


def test_a_folders_wrong_file_is_refused_and_not_copied(obtain, crops, data, tmp_path):
    source = source_folder(crops, tmp_path / "source", ("images", "masks"))
    (source / "images" / "A_R_1.nii.gz").write_bytes(b"other")
    with pytest.raises(UserError, match=r"images/A_R_1\.nii\.gz: its sha256 is .* instead of .*; copy it anew"):
        obtain(source)
    assert "subset0/A_R_1.nii.gz" not in files_of(data) and not (data / "annotations.csv").exists()


def test_a_users_other_file_of_that_name_stays_and_is_named(obtain, server, data):
    (data / "subset0").mkdir(parents=True)
    (data / "subset0" / "A_R_1.nii.gz").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"subset0/A_R_1\.nii\.gz: its sha256 is .* instead of"):
        obtain()
    assert files_of(data) == {"subset0/A_R_1.nii.gz": b"mine"}
    assert not server.requests


def test_two_runs_at_once_load_each_file_once(obtain, server, data):
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: obtain(), range(2)))
    assert files_of(data).keys() == FILES
    assert len(server.requests) == 6


def test_a_log_gets_few_lines(obtain, caplog):
    with caplog.at_level(logging.INFO):
        obtain()
    assert 2 <= len(caplog.records) <= 11


def test_the_variable_names_another_source(crops, tmp_path, monkeypatch):
    source = source_folder(crops, tmp_path / "source", ("images", "masks"))
    monkeypatch.setenv("STRONGSCALE_LIDC", str(source))
    marker = tmp_path / "lidc.json"
    with pytest.raises(UserError, match=rf"{source}: lacks 19\d\d of 1988 files"):
        download.main(["--folder", str(tmp_path / "data"), "--item", "lidc", "--marker", str(marker)])
    assert not marker.exists()


def test_the_table_names_994_crops_with_their_masks():
    crops = lidc.read_crops(lidc.TABLE)
    assert len({(crop.place, crop.name) for crop in crops}) == len(crops) == 2 * 994
    assert all(len(crop.sha256) == 64 and crop.size_bytes > 100 for crop in crops)


@pytest.mark.skipif("STRONGSCALE_LIDC" not in os.environ, reason="STRONGSCALE_LIDC names no copy of the crops")
def test_the_published_crops_are_those_of_the_table(tmp_path):
    marker = tmp_path / "lidc.json"
    download.main(["--folder", str(tmp_path / "data"), "--item", "lidc", "--marker", str(marker)])
    assert json.loads(marker.read_text())["num_files"] == 1988
    with (tmp_path / "data" / "annotations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), len({row["patient"] for row in rows})) == (994, 551)


def test_the_status_counts_one_download(tmp_path):
    settings = Dataset(folder="data/lidc", download="lidc", subsets=(0,), cubes=Cubes(minimum_readers=3))
    assert planned.steps(tmp_path, settings)[0] == planned.Step(what="download", done=0, of=1)
    (tmp_path / "download").mkdir()
    (tmp_path / "download" / "lidc.json").touch()
    assert planned.steps(tmp_path, settings)[0].done == 1
