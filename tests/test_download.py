"""Items of LUNA16 arrive whole, whatever the network does, and a user's own files stay as they are."""

import email.utils
import errno
import functools
import hashlib
import json
import logging
import shutil
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from http_server import Fault, FaultyServer
from test_archive import files_of, zip_bytes

from strongscale.data.download import __main__ as download
from strongscale.data.download import archive, transfer, zenodo
from strongscale.data.download.transfer import Client, Patience
from strongscale.errors import UserError
from strongscale.lock import locked

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
    files = [transfer.RemoteFile(key, "1", "url", 1, "0" * 32) for key in list(zenodo.RECORDS)[:4]]
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


def test_a_part_is_gone_on_with(fetch, data, server):
    part_of(server, data, 12_345)
    fetch()
    assert server.ranges("/subset3.zip") == ["bytes=12345-"]
    assert files_of(data / "subset3") == scans(3)


def test_a_server_without_range_restarts_the_file(fetch, data, server):
    part_of(server, data, 12_345)
    server.faults["/subset3.zip"] = [Fault(ignore_range=True)]
    fetch()
    assert server.ranges("/subset3.zip") == ["bytes=12345-"]
    assert files_of(data / "subset3") == scans(3)


def test_other_bytes_than_asked_for_are_not_written(fetch, data, server, waits):
    part_of(server, data, 12_345)
    server.faults["/subset3.zip"] = [Fault(headers={"Content-Range": "bytes 777-786/999"}, body=b"x" * 10)]
    fetch()
    assert files_of(data / "subset3") == scans(3) and len(waits) == 1


@pytest.mark.parametrize("rubbish", [b"x" * 12_345, b"x" * 999_999])
def test_a_wrong_or_too_long_part_is_loaded_anew(fetch, data, server, rubbish):
    (data / "subset3.zip.part").write_bytes(rubbish)
    fetch()
    assert server.ranges("/subset3.zip")[-1] is None
    assert files_of(data / "subset3") == scans(3)


def test_wrong_bytes_are_loaded_once_more(fetch, data, server):
    server.faults["/subset3.zip"] = [Fault(body=b"x" * len(server.files["/subset3.zip"]))]
    fetch()
    assert files_of(data / "subset3") == scans(3)


def test_wrong_bytes_twice_are_an_error_and_nothing_is_left(fetch, data, server):
    server.faults["/subset3.zip"] = [Fault(body=b"x" * len(server.files["/subset3.zip"]))] * 2
    with pytest.raises(UserError, match="its md5 is .* loaded twice"):
        fetch()
    assert names(data) == ["luna16.lock.json"]


def test_a_file_without_end_is_cut_off(fetch, data, server):
    server.faults["/subset3.zip"] = [Fault(body=bytes(1_000_000), without_length=True)] * 2
    with pytest.raises(UserError, match="longer than the .* bytes of subset3.zip"):
        fetch()
    assert names(data) == ["luna16.lock.json"]


def test_a_file_shorter_than_the_part_is_an_error(fetch, data, server):
    part_of(server, data, 12_345)
    server.files["/subset3.zip"] = b"short"
    with pytest.raises(UserError, match="the server's file ends before byte 5 "):
        fetch()


def test_a_broken_connection_is_gone_on_with(fetch, server, data, waits):
    server.faults["/subset3.zip"] = [BROKEN, BROKEN]
    fetch()
    assert server.ranges("/subset3.zip") == [None, "bytes=65536-", "bytes=131072-"]
    assert files_of(data / "subset3") == scans(3)
    assert waits == [1, 1]  # each had brought bytes


def test_a_short_answer_without_length_is_gone_on_with(fetch, server, data):
    server.faults["/subset3.zip"] = [Fault(break_after=100_000, without_length=True)]
    fetch()
    assert server.ranges("/subset3.zip") == [None, "bytes=100000-"]
    assert files_of(data / "subset3") == scans(3)


def test_a_silent_server_is_asked_again(fetch, server, data):
    server.faults["/subset3.zip"] = [Fault(stall=True)]
    fetch(read_timeout_s=0.2)
    assert len(server.ranges("/subset3.zip")) == 2
    assert files_of(data / "subset3") == scans(3)


def test_a_server_that_always_breaks_is_given_up_and_the_part_kept(fetch, data, server):
    server.faults["/subset3.zip"] = [BROKEN, *[BUSY] * 99]
    with pytest.raises(UserError, match="gave up after 4 attempts .*503.*; run again later"):
        fetch()
    assert (data / "subset3.zip.part").stat().st_size == transfer.CHUNK_BYTES
    assert not (data / "subset3").exists()
    server.faults["/subset3.zip"] = []
    fetch()
    assert server.ranges("/subset3.zip")[-1] == "bytes=65536-"


def test_beginning_anew_is_no_progress(fetch, server):
    server.faults["/subset3.zip"] = [Fault(break_after=100_000, ignore_range=True)] * 99
    with pytest.raises(UserError, match="gave up after 4 attempts"):
        fetch()
    assert len(server.ranges("/subset3.zip")) == 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_after_longer_and_longer_waits(fetch, server, data, waits, status):
    server.faults["/subset3.zip"] = [Fault(status=status)] * 4
    fetch(attempts=9, longest_wait_s=5)
    assert waits == [1, 2, 4, 5]
    assert files_of(data / "subset3") == scans(3)


@pytest.mark.parametrize("retry_after", ["77", email.utils.formatdate(1e9 + 77, usegmt=True)])
def test_the_wait_a_server_asks_for_is_kept(fetch, server, waits, retry_after):
    server.faults["/subset3.zip"] = [Fault(status=429, headers={"Retry-After": retry_after})]
    fetch()
    assert waits == [77]


@pytest.mark.parametrize("retry_after", ["soon", email.utils.formatdate(1e9 - 77, usegmt=True), "-5"])
def test_a_wait_that_makes_no_sense_is_not_kept(fetch, server, waits, retry_after):
    server.faults["/subset3.zip"] = [Fault(status=429, headers={"Retry-After": retry_after})]
    fetch()
    assert waits == [1]


def test_a_wait_of_a_day_is_told_instead_of_waited(fetch, server, waits):
    server.faults["/subset3.zip"] = [Fault(status=503, headers={"Retry-After": "86400"})]
    with pytest.raises(UserError, match="asks to wait 1440 minutes"):
        fetch()
    assert waits == []


@pytest.mark.parametrize("path", ["/subset3.zip", "/api/records/3723295"])
@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_or_forbidden_file_fails_at_once(fetch, server, waits, path, status):
    server.faults[path] = [Fault(status=status)]
    with pytest.raises(UserError, match=f"{path}: the server answers {status}"):
        fetch()
    assert waits == []


def test_an_address_that_is_none_is_one_line():
    with pytest.raises(UserError, match="check the address"):
        transfer.fetch_json("nonsense", Client())


def test_a_disk_too_small_is_said_before_anything_is_loaded(fetch, data, server, monkeypatch):
    size = len(server.files["/subset3.zip"])
    part_of(server, data, 1000)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(3 * size - 1001))
    with pytest.raises(UserError, match=r"data: .*subset3\.zip.* needs 0\.0 GB and 0\.0 GB are free"):
        fetch()
    assert not server.ranges("/subset3.zip")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(3 * size - 1000))
    fetch()


def test_a_disk_that_fills_up_is_one_line_and_the_part_is_kept(fetch, data, monkeypatch):
    append = transfer._Part.append

    def full(part, chunk):
        if part.size_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(part, chunk)

    with monkeypatch.context() as patched:
        patched.setattr(transfer._Part, "append", full)
        with pytest.raises(UserError, match="data: the disk is full"):
            fetch()
    assert names(data) == ["luna16.lock.json", "subset3.zip.part"]
    fetch()
    assert files_of(data / "subset3") == scans(3)


def test_a_bad_archive_leaves_nothing_but_itself(fetch, data, server, tmp_path):
    server.files["/subset3.zip"] = zip_bytes({"../escaped": b"bad"})
    list_all(server)
    with pytest.raises(UserError, match="leads out of the folder"):
        fetch()
    assert names(data) == ["luna16.lock.json", "subset3.zip.part"]
    assert names(tmp_path) == ["data"]


def test_a_log_gets_a_line_every_tenth(fetch, caplog):
    with caplog.at_level(logging.INFO):
        fetch()
    shares = [record.args[1] for record in caplog.records if record.msg.startswith("%s: %d %% of")]
    assert shares[-1] == 100 and len(shares) <= 10


def test_a_terminal_gets_a_bar(fetch, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch()
    assert "subset3.zip: 100%" in capsys.readouterr().err


def test_an_unknown_item_is_refused(fetch, capsys):
    with pytest.raises(SystemExit):
        fetch("subset10")
    assert "invalid choice: 'subset10'" in capsys.readouterr().err
