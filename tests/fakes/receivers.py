"""Real servers on this machine that take what people would be told: HTTP and SMTP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

HANG = 0


@dataclass
class Receiver:
    """An HTTP server that remembers what was posted.

    Attributes:
        answers: status codes of the next answers, then 200; `HANG` answers nothing until the end.
        text: body of its answers.
    """

    port: int = 0
    answers: list[int] = field(default_factory=list)
    text: str = "OK"
    posted: list[tuple[str, str]] = field(default_factory=list)
    ended: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    @property
    def paths(self) -> list[str]:
        """Path and query of each request."""
        with self.lock:
            return [path for path, _ in self.posted]

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The bodies, as JSON."""
        with self.lock:
            return [json.loads(body) for _, body in self.posted]

    @property
    def bodies(self) -> list[str]:
        """The bodies."""
        with self.lock:
            return [body for _, body in self.posted]


@contextmanager
def receiver(answers: Sequence[int] = ()) -> Iterator[Receiver]:
    """Serve on a free port of this machine."""
    made = Receiver(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            with made.lock:
                made.posted.append((self.path, body))
                status = made.answers.pop(0) if made.answers else 200
            if status == HANG:
                made.ended.wait(120)
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(made.text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.ended.set()
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """An SMTP server that remembers its mail.

    Attributes:
        answers: what it says of the next mail, then that it takes it.
    """

    port: int = 0
    answers: list[str] = field(default_factory=list)
    mail: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a mail, or answer what was scripted."""
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        self.mail.append(message_from_bytes(content, EmailMessage, policy=policy.default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"


@contextmanager
def mailbox(answers: Sequence[str] = ()) -> Iterator[Mailbox]:
    """Serve SMTP on a free port of this machine."""
    from tests.servers import free_port

    made = Mailbox(free_port(), list(answers))
    controller = Controller(made, hostname="127.0.0.1", port=made.port)
    controller.start()
    try:
        yield made
    finally:
        controller.stop()
