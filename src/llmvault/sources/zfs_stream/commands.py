"""Running ``zfs``, ``zpool`` and ``zstream``, and telling their failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, Completed, Process, Runner

_SECONDS = 300.0
_PIECE = 1 << 20
_ENVIRONMENT = {"LC_ALL": "C"}
_FORBIDDEN = ("permission denied", "operation not permitted", "must be superuser", "must be root")
_FULL = ("out of space", "no space left", "quota exceeded", "insufficient")
_ABSENT = ("does not exist", "could not find any snapshots", "no such tag", "no such pool")
ALLOW = "run as root, or: zfs allow USER send,snapshot,hold,release,destroy,mount DATASET"


def attempt(runner: Runner, *argv: str) -> Completed:
    """Run a program of ZFS to its end.

    Raises:
        UnavailableError: when it is not installed or hangs.
    """
    try:
        return runner.run(Command(argv, environment=_ENVIRONMENT), timeout=_SECONDS)
    except UnavailableError as error:
        raise _not_installed(error) from error


def succeed(runner: Runner, thing: str, *argv: str) -> str:
    """Run a program that must succeed; return what it printed.

    Raises:
        UnavailableError: when it does not, naming `thing` and what the program said.
    """
    done = attempt(runner, *argv)
    if done.exit_code != 0:
        raise failure(thing, argv, done.exit_code, done.stderr.splitlines())
    return done.stdout


def start(runner: Runner, *argv: str, stdin: bool = False) -> Process:
    """Start a program of ZFS.

    Raises:
        UnavailableError: when it is not installed.
    """
    try:
        return runner.start(Command(argv, environment=_ENVIRONMENT), stdin=stdin)
    except UnavailableError as error:
        raise _not_installed(error) from error


def output(process: Process, thing: str) -> Iterator[bytes]:
    """Yield what a program writes.

    Raises:
        UnavailableError: at the end, when it failed: what was written is incomplete.
    """
    yield from process.chunks()
    if (code := process.wait()) != 0:
        raise failure(thing, process.argv, code, process.stderr_lines())


def feed(runner: Runner, file: Path, *argv: str) -> Completed:
    """Run a program with a file as its input, in bounded memory; it may stop reading early.

    Raises:
        UnavailableError: when it is not installed.
        OSError: when the file cannot be read.
    """
    with start(runner, *argv, stdin=True) as process, file.open("rb") as stream:
        try:
            while piece := stream.read(_PIECE):
                process.write(piece)
            process.close_stdin()
        except BrokenPipeError:
            pass  # its exit code and words tell why
        printed = "\n".join(process.lines())
        return Completed(argv, process.wait(), printed, "\n".join(process.stderr_lines()))


def says_absent(text: str) -> bool:
    """Whether a program failed because what it was asked for is not there."""
    return any(word in text for word in _ABSENT)


def failure(
    thing: str, argv: tuple[str, ...], code: int, said: list[str] | tuple[str, ...]
) -> UnavailableError:
    """Return the error that a failed program stands for."""
    told = "; ".join(line.strip() for line in said if line.strip())[:400]
    what = f"{' '.join(argv[:2])} ended with {code}: {told or 'it said nothing'}"
    return UnavailableError(thing, what, _next_step(told.lower()))


def _next_step(said: str) -> str:
    if any(word in said for word in _FORBIDDEN):
        return ALLOW
    if any(word in said for word in _FULL):
        return "free space in the pool, then try again"
    if "/dev/zfs" in said or "modules" in said:
        return "this kernel has no ZFS: load its module (modprobe zfs), or use a host that has it"
    return "see the message, then try again"


def _not_installed(error: UnavailableError) -> UnavailableError:
    return UnavailableError(
        error.thing, error.cause, "install it: apt-get install zfsutils-linux (of contrib)"
    )
