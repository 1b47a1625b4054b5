"""A zip of unknown hands unpacks inside its folder, whole or not at all."""

import io
import stat
import zipfile
from collections import namedtuple

import pytest

from strongscale.common.errors import UserError
from strongscale.data.download import archive


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / ".subset3.unpacking"
    folder.mkdir()
    return folder


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def zip_bytes(members):
    buffer = io.BytesIO()
    write_zip(buffer, members)
    return buffer.getvalue()


def patch(path, old, new, count=-1):
    """Replace bytes of a file, such as those of a header."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(source, tmp_path, work, match):
    """Unpacking says what is wrong and leaves nothing."""
    before = files_of(tmp_path)
    with pytest.raises(UserError, match=match) as caught:
        archive.unpack(source, tmp_path / "subset3", work)
    assert "\n" not in str(caught.value)
    assert files_of(tmp_path) == before
    assert not (tmp_path / "subset3").exists()
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("top", ["", "subset3/", "subset3\\"])
def test_a_leading_folder_of_the_items_name_is_taken_off(tmp_path, work, top):
    source = write_zip(
        tmp_path / "subset3.zip",
        {top: b"", f"{top}a.mhd": b"header", f"{top}a.raw": b"voxels"}
        if top
        else {"a.mhd": b"header", "a.raw": b"voxels"},
    )
    archive.unpack(source, tmp_path / "subset3", work)
    assert files_of(tmp_path / "subset3") == {"a.mhd": b"header", "a.raw": b"voxels"}
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_known_compression_unpacks(tmp_path, work, method):
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": b"voxels" * 100}, method)
    archive.unpack(source, tmp_path / "subset3", work)
    assert files_of(tmp_path / "subset3") == {"a.raw": b"voxels" * 100}


@pytest.mark.parametrize("members", [{}, {"subset3/": b""}, {"subset3/readme.txt": b"moved"}])
def test_an_archive_without_scans_is_refused(tmp_path, work, members):
    source = write_zip(tmp_path / "subset3.zip", members)
    refused(source, tmp_path, work, r"subset3\.zip: \d files and no scans in it")


def test_zip64_records_unpack(tmp_path, work):
    source = tmp_path / "subset3.zip"
    with zipfile.ZipFile(source, "w") as opened, opened.open("a.raw", "w", force_zip64=True) as member:
        member.write(b"voxels")
    archive.unpack(source, tmp_path / "subset3", work)
    assert files_of(tmp_path / "subset3") == {"a.raw": b"voxels"}


@pytest.mark.parametrize(
    "name",
    ["../a", "subset3/../../a", "/tmp/a", "\\\\server\\a", "C:\\a", "c:a", "subset3\\..\\..\\a", "..\\a", "."],
)
def test_a_name_that_leads_out_is_refused(tmp_path, work, name):
    source = write_zip(tmp_path / "subset3.zip", {"subset3/good": b"good", name: b"bad"})
    refused(source, tmp_path, work, "leads out of the folder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO])
def test_a_link_or_a_special_file_is_refused(tmp_path, work, kind):
    link = zipfile.ZipInfo("subset3/link")
    link.external_attr = (kind | 0o777) << 16
    source = write_zip(tmp_path / "subset3.zip", {"subset3/good": b"good", link: b"/etc"})
    refused(source, tmp_path, work, "is a link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_path_are_refused(tmp_path, work):
    source = write_zip(tmp_path / "subset3.zip", {"subset3/a": b"1", "a": b"2"})
    refused(source, tmp_path, work, "holds a twice")


def test_a_file_that_is_a_folder_too_is_refused(tmp_path, work):
    source = write_zip(tmp_path / "subset3.zip", {"a": b"1", "a/b": b"2"})
    refused(source, tmp_path, work, "as a file and as a folder")


def test_an_archive_that_grows_too_much_is_refused_before_anything_is_written(tmp_path, work, monkeypatch):
    monkeypatch.setattr(archive, "GIGABYTE", 1000)
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": bytes(100_000)})
    refused(source, tmp_path, work, "would unpack to")


def test_a_member_longer_than_it_says_is_refused(tmp_path, work):
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": b"x" * 777}, zipfile.ZIP_DEFLATED)
    patch(source, (777).to_bytes(4, "little"), (77).to_bytes(4, "little"))
    refused(source, tmp_path, work, "damaged")


def test_a_member_shorter_than_it_says_is_refused(tmp_path, work):
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": b"x" * 777}, zipfile.ZIP_DEFLATED)
    patch(source, (777).to_bytes(4, "little"), (778).to_bytes(4, "little"))
    refused(source, tmp_path, work, "777 bytes instead of 778")


def test_a_damaged_member_is_said_to_be_damaged(tmp_path, work):
    source = write_zip(tmp_path / "subset3.zip", {"a.mhd": b"header", "b.raw": b"voxels"}, zipfile.ZIP_STORED)
    patch(source, b"voxels", b"vowels")
    refused(source, tmp_path, work, "damaged .*CRC.*b.raw")


def test_what_is_no_zip_is_said_to_be_damaged(tmp_path, work):
    (tmp_path / "subset3.zip").write_bytes(b"<html>not today</html>")
    refused(tmp_path / "subset3.zip", tmp_path, work, "damaged")


def test_an_unknown_compression_is_left_to_7z(tmp_path, work):
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": b"voxels"}, zipfile.ZIP_STORED)
    patch(source, b"\x14\x00\x00\x00\x00\x00", b"\x14\x00\x00\x00\x09\x00")  # deflate64, as of Windows
    refused(source, tmp_path, work, "unpack it by hand with 7z into .*subset3")


def test_an_encrypted_archive_is_left_to_7z(tmp_path, work):
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": b"voxels"}, zipfile.ZIP_STORED)
    patch(source, b"\x14\x00\x00\x00\x00\x00", b"\x14\x00\x01\x00\x00\x00")
    refused(source, tmp_path, work, "unpack it by hand with 7z into .*subset3")


def test_a_disk_too_small_for_what_the_directory_lists_is_said_ahead(tmp_path, work, monkeypatch):
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": bytes(1000), "b.raw": bytes(1000)})
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1999))
    refused(source, tmp_path, work, "GB are free")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(2000))
    archive.unpack(source, tmp_path / "subset3", work)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, work, monkeypatch):
    source = write_zip(tmp_path / "subset3.zip", {"a.raw": b"voxels", "b.raw": b"voxels"})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        archive.unpack(source, tmp_path / "subset3", work)
    assert list(work.iterdir()) == [] and not (tmp_path / "subset3").exists()


@pytest.mark.parametrize(
    "members",
    [
        {"evaluationScript/annotations/annotations_excluded.csv": b"table", "evaluationScript/a.py": b""},
        {"annotations_excluded.csv": b"table"},
        {"tools.zip": zip_bytes({"a.txt": b""}), "script.zip": zip_bytes({"x/annotations_excluded.csv": b"table"})},
    ],
)
def test_a_file_is_found_wherever_it_lies(tmp_path, work, members):
    source = write_zip(tmp_path / "evaluationScript.zip", members)
    archive.extract(source, tmp_path / "annotations_excluded.csv", work)
    assert (tmp_path / "annotations_excluded.csv").read_bytes() == b"table"
    assert list(work.iterdir()) == []


def test_a_file_that_is_nowhere_is_said_to_be_missing(tmp_path, work):
    source = write_zip(tmp_path / "evaluationScript.zip", {"a.zip": zip_bytes({"b": b""})})
    with pytest.raises(UserError, match=r"no annotations_excluded.csv in it"):
        archive.extract(source, tmp_path / "annotations_excluded.csv", work)
    assert list(work.iterdir()) == []
