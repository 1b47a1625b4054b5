"""A local server that fails as it is told to, request by request."""

import contextlib
import http.server
import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer."""

    status: int | None = None
    headers: dict = field(default_factory=dict)
    break_after: int | None = None  # bytes of the body
    body: bytes | None = None  # instead of the file
    ignore_range: bool = False
    without_length: bool = False
    stall: bool = False
    together: threading.Barrier | None = None  # answered when as many requests are there


class FaultyServer:
    """Files by path, faults by path in the order of requests (None: no fault), and the requests as they came."""

    def __init__(self):
        self.files = {}
        self.faults = defaultdict(list)
        self.requests = []
        self.stop = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()

    def add_record(self, record, entries):
        """The API's answer for a record."""
        self.files[f"/api/records/{record}"] = json.dumps({"files": entries}).encode()

    def ranges(self, path):
        """The Range header of every request for a path."""
        return [header for asked, header in self.requests if asked == path]


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: FaultyServer

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        self.owner.requests.append((self.path, self.headers["Range"]))
        faults = self.owner.faults[self.path]
        fault = (faults.pop(0) if faults else None) or Fault()
        if fault.together:
            fault.together.wait(timeout=30)
        if fault.stall:
            self.owner.stop.wait()
            return
        if fault.status or self.path not in self.owner.files:
            self.answer(fault.status or 404, b"", fault.headers)
            return
        content, start = self.owner.files[self.path], 0
        if self.headers["Range"] and not fault.ignore_range:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content) and start:
            self.answer(416, b"", {})
            return
        ranged = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        body = content[start:] if fault.body is None else fault.body
        self.answer(206 if start else 200, body, ranged | fault.headers, fault)

    def answer(self, status, body, headers, fault=None):
        self.send_response(status)
        if not (fault and fault.without_length):
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client has had enough
            self.wfile.write(body if fault is None else body[: fault.break_after])
