"""A proxy before an object store that misbehaves when it is told to."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Lock
from urllib.parse import urlsplit

from tests.servers import http_server

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass(frozen=True)
class Answer:
    """An answer that is given without asking the server."""

    status: int
    code: str


class CutError(Exception):
    """The connection is cut without an answer."""


SLOW_DOWN = Answer(503, "SlowDown")
INTERNAL = Answer(500, "InternalError")
THROTTLED = Answer(429, "TooManyRequests")
HALF = Answer(0, "half of the server's answer, then the line is cut")
Hook = Callable[[str, str], Answer | None]


@dataclass
class Faulty:
    """What the proxy does; `hook` is asked for each request, by method and path with query.

    Attributes:
        seen: every request as ``METHOD path?query``.
    """

    url: str = ""
    hook: Hook | None = None
    seen: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def ask(self, method: str, path: str) -> Answer | None:
        """Note a request and tell what becomes of it."""
        with self._lock:
            self.seen.append(f"{method} {path}")
            return self.hook(method, path) if self.hook else None


def _ask(
    endpoint: str, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> tuple[http.client.HTTPResponse, bytes]:
    there = urlsplit(endpoint)
    connection = http.client.HTTPConnection(str(there.hostname), there.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@contextmanager
def faulty_proxy(endpoint: str) -> Iterator[Faulty]:
    """Put a proxy before a server; what it does can be changed while it runs."""
    faulty = Faulty()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                fault = faulty.ask(self.command, self.path)
            except CutError:
                self.close_connection = True
                return
            if fault is not None and fault is not HALF:
                self.refuse(fault)
                return
            self.pass_on(body, cut=fault is HALF)

        def refuse(self, fault: Answer) -> None:
            text = f"<Error><Code>{fault.code}</Code><Message>as the test wants</Message></Error>"
            content = text.encode() if self.command != "HEAD" and fault.status != 200 else b""
            self.send_response(fault.status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def pass_on(self, body: bytes, *, cut: bool) -> None:
            # Host too is passed on as it came: it is signed
            kept = [(n, v) for n, v in self.headers.items() if n.lower() not in (*_HOP, "expect")]
            answer, content = _ask(endpoint, self.command, self.path, kept, body)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked was killed
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = self.close_connection or cut

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http_server(Proxy) as url:
        faulty.url = url
        yield faulty
