"""Command lines of llmvault, each in a fork, ended by a signal at one of their steps.

A step is what leaves a trace outside the process: a file put in place, a row committed, a program
started. The signal comes just before it. Nothing in llmvault knows of this: Python's audit events
(https://docs.python.org/3/library/audit_events.html) and SQLAlchemy's tell.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import Lock

_SECONDS = 60
_WRITES = ("INSERT", "UPDATE", "DELETE")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "sqlite3",
        "tests.fakes.stepped",
        "llmvault.cli.main",
        "llmvault.cli.schedule",
        "llmvault.schedule.publish",
        "llmvault.schedule.runner",
        "llmvault.catalog.session",
        "llmvault.app.ledger",
        "sqlalchemy.dialects.sqlite",
    ]
)


@dataclass(frozen=True)
class Ending:
    """Which signal ends a command line, and before which step, counted from 1."""

    step: int
    signal: int


@dataclass
class Stepped:
    """A command line that goes on.

    Attributes:
        told: its steps so far, in words.
    """

    process: multiprocessing.process.BaseProcess
    steps: Connection
    told: list[str]

    def follow(self) -> Iterator[str]:
        """Yield each step that it is about to take, until it has ended."""
        while True:
            assert self.steps.poll(_SECONDS), f"it does nothing any more: {self.told}"
            try:
                self.told.append(self.steps.recv())
            except EOFError:
                return
            yield self.told[-1]

    def wait(self) -> int:
        """Wait for its end; return the exit code, or minus the signal that ended it."""
        for _ in self.follow():
            pass
        self.process.join(_SECONDS)
        code = self.process.exitcode
        assert code is not None, f"it does not end: {self.told}"
        return code

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        try:
            os.kill(self.process.pid, number)
        except ProcessLookupError:
            return


def start(
    arguments: tuple[str, ...],
    variables: Mapping[str, str],
    *,
    program: str,
    ending: Ending | None = None,
) -> Stepped:
    """Start a command line.

    Args:
        program: what it takes for Python when it starts further command lines of llmvault.
    """
    ours, theirs = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(
        target=_play, args=(arguments, dict(variables), program, ending, theirs), daemon=False
    )
    process.start()
    theirs.close()
    return Stepped(process, ours, [])


def _play(
    arguments: tuple[str, ...],
    variables: Mapping[str, str],
    program: str,
    ending: Ending | None,
    steps: Connection,
) -> None:
    os.environ.update(variables)
    os.dup2(os.open(variables["STEPPED_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
    os.dup2(1, 2)
    sys.executable = program

    _tell_steps(_Counter(steps, ending).take)
    from llmvault.cli.main import run

    sys.exit(run(arguments))


class _Counter:
    def __init__(self, steps: Connection, ending: Ending | None) -> None:
        self._steps, self._ending, self._lock = steps, ending, Lock()
        self._count = 0

    def take(self, what: str) -> None:
        with self._lock:
            self._count += 1
            self._steps.send(what)
            if self._ending is not None and self._count == self._ending.step:
                os.kill(os.getpid(), self._ending.signal)


def _tell_steps(take: Callable[[str], None]) -> None:
    from sqlalchemy import Connection as Database
    from sqlalchemy import Engine, event

    def audited(name: str, values: tuple[object, ...]) -> None:
        if name == "os.rename":
            take(f"rename {os.fspath(values[1])!s}")  # type: ignore[call-overload]
        elif name == "subprocess.Popen":
            take(f"start {values[1]}")

    def executed(connection: Database, _: object, statement: str, *more: object) -> None:
        if statement.startswith(_WRITES):
            connection.info["stepped"] = statement.split()[2 if statement[0] == "I" else 1]

    def committing(connection: Database) -> None:
        table = connection.info.pop("stepped", None)
        if table:
            take(f"commit {table}")

    sys.addaudithook(audited)
    event.listen(Engine, "after_cursor_execute", executed)
    event.listen(Engine, "commit", committing)
