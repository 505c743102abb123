"""Backups that a scheduler asks for at a socket, because it may not take snapshots itself.

systemd starts ``llmvault schedule work`` for each connection (systemd.socket(5), ``Accept=yes``).
The scheduler's child sends one line, ``{"arguments": [...]}``; back come lines ``{"output": TEXT}``
and, last, ``{"exit": CODE}``, each a JSON object. Whoever asked closes its side to have it stopped.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

from llmvault.core.errors import RefusedError, UnavailableError, UnprovenError
from llmvault.core.process import Command, Process, Runner
from llmvault.settings import PARENT

_LONGEST = 1 << 20


def ask(place: Path, arguments: Sequence[str]) -> Iterator[str | int]:
    """Have a command line carried out; yield what it prints, line by line, then its exit code.

    Leaving early stops it, and waits for its end.

    Raises:
        UnavailableError: when nobody listens there.
        UnprovenError: when it ended without telling how.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(place))
        except OSError as error:
            raise UnavailableError(
                str(place),
                f"nobody takes backups there: {error.strerror}",
                "systemctl status llmvault-backup.socket",
            ) from error
        _send(connection, {"arguments": list(arguments)})
        with connection.makefile("rb") as stream:
            try:
                for line in stream:
                    told = json.loads(line)
                    if "exit" in told:
                        yield int(told["exit"])
                        return
                    yield str(told["output"])
            finally:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(_LONGEST):
                        continue
    raise UnprovenError(
        str(place), "the backup ended without telling how", "journalctl -u 'llmvault-backup@*'"
    )


def work(connection: socket.socket, runner: Runner, state: Path) -> int:
    """Carry out what is asked for on a connection; return its exit code.

    Raises:
        RefusedError: when it is anything but a backup into this state directory.
    """
    with connection.makefile("rb") as stream:
        asked = stream.readline(_LONGEST)
    try:
        arguments = _arguments(asked, state)
    except RefusedError as error:
        _send(connection, {"output": error.diagnostics()}, {"exit": error.exit_code})
        raise
    argv, parent = (sys.executable, "-m", "llmvault", *arguments), str(os.getpid())
    with runner.start(Command(argv, environment={PARENT: parent})) as process:
        Thread(target=_stop_when_left, args=(connection, process), daemon=True).start()
        for line in process.lines():
            _send(connection, {"output": line})
        code = process.wait()
        _send(connection, *({"output": line} for line in process.stderr_lines()), {"exit": code})
    return code


def _stop_when_left(connection: socket.socket, process: Process) -> None:
    with suppress(OSError):
        while connection.recv(_LONGEST):
            continue
    process.stop()


def _arguments(asked: bytes, state: Path) -> tuple[str, ...]:
    try:
        arguments = tuple(str(word) for word in json.loads(asked)["arguments"])
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError("backup", f"what was asked for cannot be read: {error}") from error
    what, plans, places = arguments[:1], arguments[1:-4], arguments[-4:]
    right = (
        what == ("backup",)
        and not any(plan.startswith("-") for plan in plans)
        and places[::2] == ("--policies", "--state")
        and places[3] == str(state)
    )
    if not right:
        raise RefusedError(
            "backup",
            f"only backups by this installation are taken here, not: {' '.join(arguments)}",
            "look at the socket's owner: systemctl cat llmvault-backup.socket",
        )
    return arguments


def _send(connection: socket.socket, *documents: Mapping[str, object]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked has left
        connection.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in documents))
