"""A time stamp authority (RFC 3161) for tests: ``openssl ts`` behind a small HTTP server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.servers import http_server

_SETTINGS = """
[tsa]
serial = ./serial
crypto_device = builtin
signer_cert = ./tsa.pem
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = yes
[signer]
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
"""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass
class TimeStampAuthority:
    """A running authority.

    Attributes:
        directory: its keys; ``ca.pem`` is what is trusted.
        mode: ``good``, ``away`` (503), ``garbage``, ``other`` (stamps another digest), ``replay``
            (answers with the first response again) or ``rejects``.
        asked: how often it was.
    """

    directory: Path
    url: str = ""
    mode: str = "good"
    asked: int = 0
    first: bytes = field(default=b"", repr=False)

    @property
    def certificates(self) -> Path:
        """The root's certificate."""
        return self.directory / "ca.pem"

    def make(self) -> None:
        """Make a root, and a signer under it that may stamp times and nothing else."""
        self.directory.mkdir(parents=True)
        (self.directory / "settings").write_text(_SETTINGS)
        (self.directory / "serial").write_text("01\n")
        self.openssl(
            "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=root of the tests", "-days", "30",
        )  # fmt: skip
        self.openssl(
            "req", *_KEY, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=tsa of the tests"
        )
        self.openssl(
            "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "tsa.pem", "-days", "30", "-extfile", "settings",
            "-extensions", "signer",
        )  # fmt: skip

    def openssl(self, *arguments: str) -> None:
        """Run openssl in its directory."""
        subprocess.run(
            ["openssl", *arguments], cwd=self.directory, check=True, capture_output=True, timeout=60
        )

    def answer(self, query: bytes) -> tuple[int, bytes]:
        """Return status and body for a request."""
        self.asked += 1
        if self.mode == "away":
            return 503, b"try again later"
        if self.mode == "garbage":
            return 200, b"<html>welcome to the guest network</html>"
        if self.mode == "rejects":
            return 200, bytes.fromhex("30053003020102")
        if self.mode == "replay":
            return 200, self.first
        (self.directory / "query").write_bytes(query)
        if self.mode == "other":
            self.openssl("ts", "-query", "-data", "serial", "-sha256", "-cert", "-out", "query")
        self.openssl(
            "ts", "-reply", "-config", "settings", "-section", "tsa", "-queryfile", "query",
            "-out", "reply",
        )  # fmt: skip
        reply = (self.directory / "reply").read_bytes()
        self.first = self.first or reply
        return 200, reply


@contextmanager
def time_stamp_authority(directory: Path) -> Iterator[TimeStampAuthority]:
    """Run an authority with new keys in a directory that does not exist yet."""
    authority = TimeStampAuthority(directory)
    authority.make()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            status, body = authority.answer(query)
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http_server(Handler) as url:
        authority.url = url
        yield authority
