"""The process of an engine: its log, its end, and what to say when something is wrong with it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, Process, Runner
from llmvault.core.units import format_seconds

_LINES_TOLD = 8
_LINE_LENGTH = 300
_TAIL_BYTES = 16 << 10
_REAP_SECONDS = 2.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an engine may take, in seconds: until it is ready, and for one request."""

    start: float
    request: float


class Child:
    """A started engine process.

    Args:
        thing: how error messages call it, e.g. ``engine "chat"``.
        log: what it prints; text that was there before the start is never quoted.
    """

    def __init__(self, thing: str, process: Process, log: Path, log_start: int) -> None:
        self.thing = thing
        self.process = process
        self.log = log
        self._log_start = log_start

    def failure(self, cause: str, next_step: str = "") -> UnavailableError:
        """Return the error that names the cause and quotes the last lines of the log."""
        lines = self._last_lines()
        told = f"; its log ends: {' | '.join(lines)}" if lines else "; its log is empty"
        return UnavailableError(self.thing, cause + told, next_step or f"read {self.log}")

    def ended(self, *, within: float = 0.0) -> str:
        """Return how the process ended, e.g. ``killed by SIGSEGV``; empty while it runs.

        Args:
            within: seconds to wait for an end that is under way.
        """
        if within == 0 and self.process.running():
            return ""
        try:
            code = self.process.wait(within)
        except TimeoutError:
            return ""
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def broken(self, doing: str, problem: str) -> UnavailableError:
        """Return the error for a connection that broke: a crash if the process is gone."""
        end = self.ended(within=_REAP_SECONDS)
        return self.failure(f"crashed while {doing} ({end})" if end else f"{problem} while {doing}")

    def late(self, doing: str, seconds: float) -> UnavailableError:
        """Return the error for a process that runs but does not get done."""
        return self.failure(
            f"hung while {doing}: nothing within {format_seconds(seconds)}",
            f"read {self.log}; raise start_timeout or request_timeout if it is only slow",
        )

    def _last_lines(self) -> list[str]:
        lines = _tail(self.log, self._log_start) or list(self.process.stderr_lines())
        told = [line.strip()[:_LINE_LENGTH] for line in lines if line.strip()]
        return told[-_LINES_TOLD:]


@contextmanager
def start_child(
    thing: str, command: Command, log: Path, *, runner: Runner, piped: bool = False
) -> Iterator[Child]:
    """Start an engine's process and stop it, with all it started, when the context ends.

    Args:
        piped: keep its standard input and output for us; it writes to the log by itself.

    Raises:
        UnavailableError: when the program does not exist.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(mode=0o600)
    log_start = log.stat().st_size
    try:
        process = runner.start(command, stdin=piped, log=None if piped else log)
    except UnavailableError as error:
        cause = f"{error.thing} {error.cause}"
        raise UnavailableError(thing, cause, "install it, or correct the command") from error
    with process:
        yield Child(thing, process, log, log_start)


def wait_until_ready(
    child: Child, answers: Callable[[], bool], limit: float, *, clock: Clock
) -> None:
    """Return as soon as the probe `answers` while the process runs.

    Raises:
        UnavailableError: when the process ends first, or `limit` seconds have passed.
    """
    deadline = clock.monotonic() + limit
    while True:
        ready = answers()
        # Looked at after the probe: what answered for a process that is gone was another server.
        if end := child.ended():
            raise child.failure(f"ended before it was ready ({end})")
        if ready:
            return
        if clock.monotonic() >= deadline:
            raise child.late("starting", limit)
        clock.sleep(_POLL_SECONDS)


def _tail(log: Path, start: int) -> list[str]:
    with log.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(start, size - _TAIL_BYTES))
        return stream.read().decode("utf-8", "replace").splitlines()
