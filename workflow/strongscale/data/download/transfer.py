"""Load files over HTTP as if connections broke every day: retries, resuming, checksums."""

import contextlib
import email.utils
import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests

from strongscale.common.errors import UserError
from strongscale.data.download.progress import progress

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16  # what of it had come when a connection breaks is lost
TEMPORARY = {429, 500, 502, 503, 504}
Result = TypeVar("Result")


class Unreachable(UserError):
    """The server didn't answer usefully, however often it was asked."""


class TemporaryFault(Exception):
    """Worth another try, after a wait if the server named one."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class WrongBytes(Exception):
    """What was loaded isn't the file that was asked for."""


@dataclass(frozen=True)
class Patience:
    """How often and how long a server is waited for."""

    attempts: int = 7
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_retry_after_s: float = 3600.0
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time


@dataclass(frozen=True)
class Client:
    """A session and how patient it is."""

    patience: Patience = Patience()
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Ask once; the body is left to be streamed."""
        timeout_s = (self.patience.connect_timeout_s, self.patience.read_timeout_s)
        # A body packed on the way would have other lengths than the file.
        packed_as_it_is = {"Accept-Encoding": "identity", "User-Agent": "strongscale"}
        try:
            return self.session.get(url, headers=packed_as_it_is | headers, stream=True, timeout=timeout_s)
        except (requests.ConnectionError, requests.Timeout):
            raise
        except requests.RequestException as error:
            raise UserError(f"{url}: can't be asked for ({error}); check the address") from None


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server, and how to know it."""

    key: str
    url: str
    size_bytes: int
    digest: str
    algorithm: str = "md5"


def fetch_json(url: str, client: Client) -> Any:
    """What a JSON API answers."""

    def ask() -> Any:
        with client.get(url, {}) as response:
            _check_status(response, client.patience)
            try:
                return response.json()
            except requests.exceptions.JSONDecodeError:
                raise TemporaryFault("the answer is not JSON") from None

    return _persist(ask, url, client.patience, lambda: 0)


def load(remote: RemoteFile, part: Path, client: Client, show: Callable[[int], None] | None = None) -> None:
    """Make `part` the whole remote file, going on from what is there; bytes that are wrong are loaded once more.

    `show` is told how many bytes are there; without it they are shown to the user.
    """
    for is_last in (False, True):
        try:
            _load(remote, part, client, show)
        except WrongBytes as error:
            part.unlink()
            if is_last:
                raise UserError(
                    f"{remote.url}: {error}, loaded twice; the server's file is damaged, try later"
                ) from None
            log.warning("%s: %s; loading it once more from the start", part, error)
        else:
            return


class _Part:
    """A file as far as it is loaded, with the digest of what is there."""

    def __init__(self, path: Path, algorithm: str) -> None:
        path.touch()
        self.algorithm = algorithm
        self.file = path.open("r+b")
        self.digest = hashlib.file_digest(self.file, lambda: _new_digest(algorithm))
        self.size_bytes = self.file.tell()
        self.most_bytes = self.size_bytes

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest, self.size_bytes = _new_digest(self.algorithm), 0

    def append(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.digest.update(chunk)
        self.size_bytes += len(chunk)
        self.most_bytes = max(self.most_bytes, self.size_bytes)


def digest_of(path: Path, algorithm: str = "md5") -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: _new_digest(algorithm)).hexdigest()


def _new_digest(algorithm: str) -> Any:
    return hashlib.new(algorithm, usedforsecurity=False)


def _load(remote: RemoteFile, path: Path, client: Client, show: Callable[[int], None] | None) -> None:
    if path.exists() and path.stat().st_size > remote.size_bytes:
        raise WrongBytes(f"longer than the {remote.size_bytes} bytes of {remote.key}")
    part = _Part(path, remote.algorithm)
    shown = contextlib.nullcontext(show) if show else progress(remote.key, remote.size_bytes, part.size_bytes)
    with part.file, shown as tell:

        def go_on() -> None:
            _go_on(remote, part, client, tell)

        # Only what was never loaded before counts as progress: a server that ignores Range and always breaks in the
        # same place would otherwise be asked forever.
        _persist(go_on, remote.url, client.patience, lambda: part.most_bytes)
        part.file.flush()
        os.fsync(part.file.fileno())
    if part.digest.hexdigest() != remote.digest:
        raise WrongBytes(f"its {remote.algorithm} is {part.digest.hexdigest()} instead of {remote.digest}")


def _go_on(remote: RemoteFile, part: _Part, client: Client, show: Callable[[int], None]) -> None:
    if part.size_bytes == remote.size_bytes:
        return
    headers = {"Range": f"bytes={part.size_bytes}-"} if part.size_bytes else {}
    with client.get(remote.url, headers) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            raise WrongBytes(f"the server's file ends before byte {part.size_bytes} of {remote.size_bytes}")
        _check_status(response, client.patience)
        if response.status_code == requests.codes.ok:  # the whole file, whatever was asked for
            part.restart()
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {part.size_bytes}-"):
            raise TemporaryFault("the answer has other bytes than those asked for")
        for chunk in response.iter_content(CHUNK_BYTES):
            if part.size_bytes + len(chunk) > remote.size_bytes:
                raise WrongBytes(f"longer than the {remote.size_bytes} bytes of {remote.key}")
            part.append(chunk)
            show(part.size_bytes)
    if part.size_bytes < remote.size_bytes:
        raise TemporaryFault(f"the connection ended after {part.size_bytes} of {remote.size_bytes} bytes")


def _check_status(response: requests.Response, patience: Patience) -> None:
    answer = f"the server answers {response.status_code} {response.reason}"
    if response.status_code in TEMPORARY:
        raise TemporaryFault(answer, _retry_after_s(response.headers.get("Retry-After"), patience.now()))
    if response.status_code >= 400:
        raise UserError(f"{response.url}: {answer}; check the address, or load the file by hand")


def _retry_after_s(header: str | None, now_s: float) -> float:
    """Seconds to wait, of a header that holds seconds or a date; 0 without one."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        return email.utils.parsedate_to_datetime(header).timestamp() - now_s
    except ValueError:
        return 0.0


def _persist(attempt: Callable[[], Result], url: str, patience: Patience, reached: Callable[[], int]) -> Result:
    """Try until it succeeds; give up after so many faults in a row without getting further."""
    num_faults, furthest = 0, reached()
    while True:
        try:
            return attempt()
        except (TemporaryFault, requests.RequestException) as fault:
            if reached() > furthest:
                num_faults, furthest = 0, reached()
            num_faults += 1
            words = _in_words(fault)
            if num_faults >= patience.attempts:
                raise Unreachable(f"{url}: gave up after {num_faults} attempts ({words}); run again later") from None
            asked_s = fault.wait_s if isinstance(fault, TemporaryFault) else 0.0
            if asked_s > patience.longest_retry_after_s:
                raise Unreachable(
                    f"{url}: {words}, and asks to wait {asked_s / 60:.0f} minutes; run again then"
                ) from None
            wait_s = max(asked_s, min(patience.first_wait_s * 2 ** (num_faults - 1), patience.longest_wait_s))
            log.warning("%s: %s; trying again in %.0f s", url, words, wait_s)
            patience.sleep(wait_s)


def _in_words(fault: Exception) -> str:
    """The message of the innermost of the exceptions that requests wraps in one another."""
    first = fault.args[0] if fault.args else ""
    within = getattr(fault, "reason", first)
    if isinstance(within, Exception):
        return _in_words(within)
    return first if isinstance(first, str) and first else str(fault) or type(fault).__name__
