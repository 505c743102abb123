"""Running other programs: the only module that starts a process.

Every child gets its own process group, so that stopping it stops what it started, and (where
``setpriv`` of util-linux exists) a parent-death signal, so that nothing outlives a killed llmvault.
Secrets travel in the environment of a :class:`Command`, never in its argv.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self, TypeVar

from llmvault.core.errors import UnavailableError

T = TypeVar("T")

_STDERR_LINES_KEPT = 200
_SIGNAL_SECONDS = 0.3
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run.

    Attributes:
        argv: program and arguments; must hold no secret.
        environment: variables added to the runner's base environment; may hold secrets.
        defaults: variables for a program whose user has not set them in the base environment.
        cwd: the directory to run in; the caller's when None.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished program left behind."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


class Process:
    """A running program whose standard output is read line by line.

    Use as a context manager: leaving it stops the whole process group if it still runs.
    Standard error is drained in the background; the last lines are kept for error messages.
    """

    def __init__(self, argv: tuple[str, ...], popen: subprocess.Popen[bytes]) -> None:
        self.argv = argv
        self._popen = popen
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES_KEPT)
        self._drainer: threading.Thread | None = None
        self._patience: threading.Timer | None = None
        self._gave_up = False
        if popen.stderr is not None:
            self._drainer = threading.Thread(target=self._drain, args=(popen.stderr,), daemon=True)
            self._drainer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._heard()
        self.stop()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                _close_quietly(stream)
        if self._drainer is not None:
            self._drainer.join(timeout=5)

    @property
    def pid(self) -> int:
        """The process id, also the id of its process group."""
        return self._popen.pid

    @property
    def gave_up(self) -> bool:
        """Whether it was stopped because it stayed silent."""
        return self._gave_up

    def stop_if_silent(self, seconds: float) -> None:
        """Stop it unless it prints something, or ends, within so many seconds from now."""

        def give_up() -> None:
            self._gave_up = self.running()
            self.stop()

        self._patience = threading.Timer(seconds, give_up)
        self._patience.daemon = True
        self._patience.start()

    def _heard(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._stderr.append(line.decode("utf-8", "replace").rstrip("\n"))

    def lines(self) -> Iterator[str]:
        """Yield the lines of standard output as they come, without line ends."""
        stream = self._popen.stdout
        if stream is not None:
            for line in stream:
                self._heard()
                yield line.decode("utf-8", "surrogateescape").rstrip("\n")

    def chunks(self, size: int = 1 << 20) -> Iterator[bytes]:
        """Yield standard output in pieces of at most `size` bytes."""
        stream = self._popen.stdout
        while stream is not None and (piece := stream.read(size)):
            self._heard()
            yield piece

    def write(self, data: bytes) -> None:
        """Write to standard input; the program can read it when this returns.

        Raises:
            BrokenPipeError: when the program no longer reads.
        """
        if self._popen.stdin is None:
            raise BrokenPipeError(f"{self.argv[0]} was started without standard input")
        self._popen.stdin.write(data)
        self._popen.stdin.flush()

    def close_stdin(self) -> None:
        """Tell the program that its input is complete.

        Raises:
            BrokenPipeError: when the program no longer reads.
        """
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._popen.poll() is None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code (negative: killed by that signal).

        Raises:
            TimeoutError: when it still runs after `timeout` seconds.
        """
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.argv[0]} still runs after {timeout} s") from error
        if self._drainer is not None:
            self._drainer.join(timeout=5)
        return code

    def stderr_lines(self) -> tuple[str, ...]:
        """Return the last lines of standard error seen so far."""
        return tuple(self._stderr)

    def stop(self) -> None:
        """End the process group: politely first, by force after ten seconds."""
        _stop_group(self._popen)


def _stop_group(popen: subprocess.Popen[bytes]) -> None:
    if popen.poll() is None:
        _signal_group(popen.pid, signal.SIGTERM)
        if not _ended(popen, _SIGNAL_SECONDS):
            # it may wait for input, which must not end before it has heard that it is to stop
            if popen.stdin is not None:
                _close_quietly(popen.stdin)
            if not _ended(popen, _GRACE_SECONDS):
                _signal_group(popen.pid, signal.SIGKILL)
                popen.wait()
    _signal_group(popen.pid, signal.SIGKILL)


def _ended(popen: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        popen.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return


def _whole(make: Callable[[], T], undo: Callable[[T], None]) -> T:
    """Make a child and return it, or leave none.

    A signal handler that raises while a child is being made would leave it running, unknown to us;
    so the signals that end us are held back meanwhile. Only the main thread runs handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return make()
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda number, _: arrived.append(number))
    made: list[T] = []
    try:
        made.append(make())
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if arrived:
            for child in made:
                undo(child)
            signal.raise_signal(arrived[0])
    return made[0]


def _end(process: Process) -> None:
    with process:
        return


def _discard(popen: subprocess.Popen[bytes]) -> None:
    with popen:
        _stop_group(popen)


class OverdueError(UnavailableError):
    """A program took longer than it may, and was stopped."""


class Runner(Protocol):
    """Runs programs."""

    def run(
        self, command: Command, *, stdin: bytes | None = None, timeout: float | None = None
    ) -> Completed:
        """Run to the end and return what it printed.

        Raises:
            OverdueError: when the program exceeds `timeout` seconds.
            UnavailableError: when it does not exist.
        """

    def start(self, command: Command, *, stdin: bool = False, log: Path | None = None) -> Process:
        """Start a program; with `log`, both of its outputs go to that file instead of to us.

        Raises:
            UnavailableError: when the program does not exist.
        """


class LocalRunner:
    """Runs programs on this machine.

    Args:
        environment: the base environment of every child.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._setpriv = shutil.which("setpriv", path=self._environment.get("PATH"))

    def run(
        self, command: Command, *, stdin: bytes | None = None, timeout: float | None = None
    ) -> Completed:
        """Run to the end and return what it printed."""
        with _whole(lambda: self._popen(command, stdin is not None, None), _discard) as popen:
            try:
                out, err = popen.communicate(stdin, timeout)
            except subprocess.TimeoutExpired as error:
                _stop_group(popen)
                raise OverdueError(
                    command.argv[0],
                    f"did not finish within {timeout} s",
                    "try again, or look at its log",
                ) from error
            except BaseException:
                _stop_group(popen)
                raise
        return Completed(
            command.argv,
            popen.returncode,
            out.decode("utf-8", "replace"),
            err.decode("utf-8", "replace"),
        )

    def start(self, command: Command, *, stdin: bool = False, log: Path | None = None) -> Process:
        """Start a program; with `log`, both of its outputs go to that file instead of to us."""
        return _whole(lambda: Process(command.argv, self._popen(command, stdin, log)), _end)

    def _popen(self, command: Command, stdin: bool, log: Path | None) -> subprocess.Popen[bytes]:
        environment = {**command.defaults, **self._environment, **command.environment}
        program = shutil.which(command.argv[0], path=environment.get("PATH"))
        if program is None:
            raise UnavailableError(command.argv[0], "is not installed or not on PATH", "install it")
        wrapper = (self._setpriv, "--pdeathsig", "TERM", "--") if self._setpriv else ()
        output = log.open("ab") if log else None
        try:
            return subprocess.Popen(
                (*wrapper, program, *command.argv[1:]),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.STDOUT if output else subprocess.PIPE,
                env=environment,
                cwd=command.cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(
                command.argv[0],
                f"cannot be started: {error}",
                "look at the directory it is to run in, and at the limits of this host",
            ) from error
        finally:
            if output is not None:
                output.close()
