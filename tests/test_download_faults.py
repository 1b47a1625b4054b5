"""Downloads over a bad network: parts, breaks, busy servers, full disks."""

import email.utils
import errno
import logging
import sys
from collections import namedtuple

import pytest
from download_fixtures import BROKEN, BUSY, list_all, names, part_of, scans
from http_server import Fault
from test_archive import files_of, zip_bytes

from strongscale.common.errors import UserError
from strongscale.data.download import archive, transfer
from strongscale.data.download.transfer import Client


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
