"""Unpack downloaded zips with checks: nothing outside the folder, nothing endless, whole or not at all."""

import contextlib
import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from strongscale.common.errors import UserError

GIGABYTE = 10**9
MOST_GROWTH = 10
KNOWN_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
ENCRYPTED = 0x1
SCANS = (".mhd", ".raw", ".zraw")


def require_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Stop ahead of time where the disk is too small."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise UserError(
            f"{folder}: {purpose} needs {needed_bytes / GIGABYTE:.1f} GB and {free_bytes / GIGABYTE:.1f} GB are free; "
            "free some space or use another folder"
        )


def unpack(archive: Path, target: Path, work: Path) -> None:
    """Unpack a zip to the folder `target` by way of the folder `work`, without a leading component of target's name."""
    temporary = work / target.name
    with _opened(archive, target) as opened:
        members = _plan(opened, archive, target)
        if not any(path.suffix in SCANS for path in members):
            raise UserError(
                f"{archive}: {len(members)} files and no scans in it; get another by hand and remove this one"
            )
        require_space(work, sum(info.file_size for info in members.values()), f"unpacking {archive.name}")
        try:
            temporary.mkdir()
            for path, info in members.items():
                _write(opened, info, temporary / path, archive)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def extract(archive: Path, target: Path, work: Path) -> None:
    """Extract the one file of target's name, from any folder of the zip or from a zip in it, to `target`."""
    temporary = work / target.name
    inner = work / "inner.zip"
    try:
        if not _extract(archive, temporary, inner, target):
            raise UserError(f"{archive}: no {target.name} in it; get one by hand and put it at {target}")
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
        inner.unlink(missing_ok=True)


def _extract(archive: Path, temporary: Path, inner: Path | None, target: Path) -> bool:
    """Whether the file was found, and so written; `inner` is where a zip within may be put, None to leave them shut."""
    with _opened(archive, target) as opened:
        members = _plan(opened, archive, target)
        wanted = min((path for path in members if path.name == target.name), default=None)
        if wanted is not None:
            _write(opened, members[wanted], temporary, archive)
            return True
        for path, info in members.items() if inner else ():
            if inner and path.suffix.lower() == ".zip":
                inner.unlink(missing_ok=True)
                _write(opened, info, inner, archive)
                if _extract(inner, temporary, None, target):
                    return True
    return False


@contextlib.contextmanager
def _opened(archive: Path, target: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what is wrong with it, now or while it is read, becomes one line."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{archive}: damaged ({error}); remove it and run again, or unpack it by hand into {target}"
        ) from None
    except NotImplementedError as error:
        raise UserError(
            f"{archive}: can't be unpacked here ({error}); unpack it by hand with 7z into {target}"
        ) from None


def _plan(opened: zipfile.ZipFile, archive: Path, target: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files of a zip by the path they get below the target; anything odd is refused before a byte is written."""
    infos = [info for info in opened.infolist() if not _name(info).endswith("/")]
    most_bytes = MOST_GROWTH * archive.stat().st_size + GIGABYTE
    total_bytes = sum(info.file_size for info in infos)
    if total_bytes > most_bytes:
        raise UserError(f"{archive}: would unpack to {total_bytes / GIGABYTE:.1f} GB, which no scans do; not unpacked")
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in infos:
        path = _safe_path(info, archive, target.name)
        if path in members:
            raise UserError(f"{archive}: holds {path} twice; not unpacked")
        if info.compress_type not in KNOWN_METHODS or info.flag_bits & ENCRYPTED:
            raise NotImplementedError(f"{path} is encrypted or compressed by an unknown method, {info.compress_type}")
        members[path] = info
    if clash := next((parent for path in members for parent in path.parents if parent in members), None):
        raise UserError(f"{archive}: holds {clash} as a file and as a folder; not unpacked")
    return members


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.replace("\\", "/")  # some Windows programs write those


def _safe_path(info: zipfile.ZipInfo, archive: Path, top: str) -> PurePosixPath:
    """A member's path below the target, with neither a way out nor the leading component `top`."""
    name = _name(info)
    kind = stat.S_IFMT(info.external_attr >> 16)
    path = PurePosixPath(name)
    climbs = path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name)
    parts = path.parts[1:] if path.parts[:1] == (top,) and len(path.parts) > 1 else path.parts
    if climbs or not parts or kind not in (0, stat.S_IFREG):
        raise UserError(f"{archive}: {info.filename!r} is a link or leads out of the folder; not unpacked")
    return PurePosixPath(*parts)


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, archive: Path) -> None:
    """Write a member; zipfile checks its CRC and stops at its declared size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(info) as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
        if file.tell() != info.file_size:
            raise zipfile.BadZipFile(f"{info.filename} has {file.tell()} bytes instead of {info.file_size}")
