"""Items of LUNA16 arrive whole, whatever the network does, and a user's own files stay as they are."""

import functools
import hashlib
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from download_fixtures import BUSY, entry, names, part_of, scans
from http_server import Fault
from test_archive import files_of

from strongscale.common.errors import UserError
from strongscale.common.lock import locked
from strongscale.data.download import __main__ as download
from strongscale.data.download import transfer, zenodo


@pytest.mark.parametrize("number", [3, 8])
def test_a_subset_is_unpacked_and_its_zip_removed(fetch, data, number):
    fetch(f"subset{number}")
    assert files_of(data / f"subset{number}") == scans(number)
    assert names(data) == ["luna16.lock.json", f"subset{number}"]


def test_the_marker_says_where_the_item_came_from(fetch, server):
    marker = fetch("subset8")
    content = server.files["/subset8.zip"]
    assert marker.pop("date")
    assert marker == {
        "item": "subset8",
        "record": "4121926",
        "url": f"{server.url}/subset8.zip",
        "files": [{"name": "subset8.zip", "size_bytes": len(content), "md5": hashlib.md5(content).hexdigest()}],
    }


def test_tables_come_alone(fetch, data, server):
    fetch("annotations.csv")
    fetch("annotations_excluded.csv")
    assert (data / "annotations.csv").read_bytes() == server.files["/annotations.csv"]
    assert (data / "annotations_excluded.csv").read_bytes() == b"x\n"
    assert names(data) == ["annotations.csv", "annotations_excluded.csv", "luna16.lock.json"]
    assert not server.ranges("/subset3.zip")


def test_archives_are_kept_on_request_and_used_again(fetch, data, server):
    fetch("subset3", "--keep-archives")
    assert (data / "subset3.zip").read_bytes() == server.files["/subset3.zip"]
    shutil.rmtree(data / "subset3")
    fetch()
    assert len(server.ranges("/subset3.zip")) == 1
    assert (data / "subset3.zip").exists() and files_of(data / "subset3") == scans(3)


@pytest.mark.parametrize("change", [lambda whole: whole[:-9], lambda whole: b"x" + whole[1:]], ids=["short", "other"])
def test_a_zip_that_is_not_the_records_is_left_alone_and_named(fetch, data, server, change):
    own = change(server.files["/subset3.zip"])
    (data / "subset3.zip").write_bytes(own)
    with pytest.raises(UserError, match=r"subset3\.zip: not the .* bytes"):
        fetch()
    assert (data / "subset3.zip").read_bytes() == own


@pytest.mark.parametrize("link", ["self", "content", "download"])
def test_every_form_of_link_is_understood(fetch, data, server, link):
    server.add_record("3723295", [entry(server, "subset3.zip", link)])
    fetch()
    assert files_of(data / "subset3") == scans(3)


def test_a_description_of_the_file_is_not_taken_for_its_content(fetch, data, server):
    described = entry(server, "subset3.zip", "content")
    described["links"]["self"] = f"{server.url}/nothing"
    server.files["/api/records/3723295"] = json.dumps({"files": {"entries": {"subset3.zip": described}}}).encode()
    fetch()
    assert files_of(data / "subset3") == scans(3)


@pytest.mark.parametrize("answer", [b"[]", b'{"files": [{"name": "subset3.zip"}]}', b'{"files": 3}', b'"files"'])
def test_an_answer_of_another_form_is_one_line(fetch, data, server, answer):
    server.files["/api/records/3723295"] = answer
    with pytest.raises(UserError, match="isn't understood"):
        fetch()
    assert names(data) == []


def test_a_file_the_record_lacks_is_named(fetch, server):
    server.add_record("3723295", [])
    with pytest.raises(UserError, match=r"the record has no file subset3\.zip"):
        fetch()


def test_a_users_own_folder_is_used_as_it_is(fetch, data, server):
    (data / "subset3").mkdir()
    (data / "subset3" / "own.mhd").write_text("mine")
    (data / "subset3.zip").write_text("mine too")
    data.chmod(0o555)
    assert fetch() == {"item": "subset3", "already_there": True}
    data.chmod(0o755)
    assert files_of(data) == {"subset3/own.mhd": b"mine", "subset3.zip": b"mine too"}
    assert server.requests == []


def test_a_users_own_table_is_used_as_it_is(fetch, data):
    (data / "annotations.csv").write_text("mine")
    assert fetch("annotations.csv")["already_there"]
    assert (data / "annotations.csv").read_text() == "mine"


def test_what_is_in_the_items_place_is_named(fetch, data):
    (data / "subset3").mkdir()
    with pytest.raises(UserError, match="an empty folder"):
        fetch()
    (data / "subset8").write_text("a file")
    with pytest.raises(UserError, match="a file of that name is in the way"):
        fetch("subset8")
    (data / "annotations.csv").symlink_to("nowhere")
    with pytest.raises(UserError, match="a link to nothing"):
        fetch("annotations.csv")


def test_what_a_run_killed_while_unpacking_left_is_removed(fetch, data, server):
    part_of(server, data, None)
    leftover = data / ".subset3.unpacking"
    (leftover / "subset3").mkdir(parents=True)
    (leftover / "subset3" / "half.raw").write_bytes(b"half")
    (leftover / "inner.zip").write_bytes(b"half")
    (leftover / "lock").write_text("host gone, process 1")
    fetch()
    assert files_of(data / "subset3") == scans(3)
    assert names(data) == ["luna16.lock.json", "subset3"]
    assert not server.ranges("/subset3.zip")  # it was whole


def test_what_a_run_killed_just_after_unpacking_left_is_removed(fetch, data, server):
    fetch()
    part_of(server, data, None)
    (data / ".subset3.unpacking").mkdir()
    assert fetch()["already_there"]
    assert names(data) == ["luna16.lock.json", "subset3"]


def test_a_second_run_for_the_same_item_is_refused(fetch, data, monkeypatch):
    monkeypatch.setattr(download, "locked", functools.partial(locked, patience_s=0))
    (data / ".subset3.unpacking").mkdir()
    with locked(data / ".subset3.unpacking"), pytest.raises(UserError, match="another run is at work"):
        fetch()


def test_two_items_come_at_once(fetch, data, server):
    together = threading.Barrier(2)
    for item in ("subset3", "subset8"):
        server.faults[f"/{item}.zip"] = [Fault(together=together)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(fetch, ["subset3", "subset8"]))
    assert {name: files_of(data / name) for name in ("subset3", "subset8")} == {
        "subset3": scans(3),
        "subset8": scans(8),
    }
    assert list(json.loads((data / "luna16.lock.json").read_text())) == ["subset3.zip", "subset8.zip"]


def test_pins_made_at_once_are_all_kept(tmp_path):
    files = [transfer.RemoteFile(key, "url", 1, "0" * 32) for key in list(zenodo.RECORDS)[:4]]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(functools.partial(zenodo._pin, folder=tmp_path), files))
    assert len(json.loads((tmp_path / "luna16.lock.json").read_text())) == 4


def test_another_checksum_than_the_pinned_is_refused(fetch, data, server):
    fetch()
    pinned = hashlib.md5(server.files["/subset3.zip"]).hexdigest()
    shutil.rmtree(data / "subset3")
    server.add_record("3723295", [entry(server, "subset3.zip", md5="1" * 32)])
    with pytest.raises(UserError, match=rf"luna16\.lock\.json: .*{pinned}.*{'1' * 32}.*remove its entry"):
        fetch()
    assert names(data) == ["luna16.lock.json"]


@pytest.mark.parametrize("fault", [BUSY, Fault(body=b"<html>sign in to the network</html>")])
def test_a_pinned_file_is_loaded_while_the_api_is_down(fetch, data, server, fault):
    fetch()
    shutil.rmtree(data / "subset3")
    server.faults["/api/records/3723295"] = [fault] * 99
    assert fetch()["url"] == f"{server.url}/subset3.zip"
    assert files_of(data / "subset3") == scans(3)


def test_a_pinned_file_is_loaded_where_nobody_listens_at_the_api(fetch, data, caplog):
    fetch()
    shutil.rmtree(data / "subset3")
    fetch("subset3", "--api", "http://127.0.0.1:1")
    assert files_of(data / "subset3") == scans(3)
    assert "gave up after 2 attempts" in caplog.text and "Connection refused" in caplog.text


def test_without_api_and_pin_nothing_is_left(fetch, data, server):
    server.faults["/api/records/3723295"] = [BUSY] * 99
    with pytest.raises(UserError, match="gave up after 4 attempts .*503"):
        fetch()
    assert names(data) == []


def test_a_torn_lock_file_is_named(fetch, data):
    (data / "luna16.lock.json").write_text('{"subset3.zip": {"md5": "1"}}')
    with pytest.raises(UserError, match=r"luna16\.lock\.json: not in the form"):
        fetch()
