"""Running the programs of filesystems, and telling their failures."""

from __future__ import annotations

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, Completed, Runner

_SECONDS = 120.0
_PACKAGES = {
    "btrfs": "btrfs-progs",
    "zfs": "zfsutils-linux",
    "zpool": "zfsutils-linux",
    "lvs": "lvm2",
    "lvcreate": "lvm2",
    "lvremove": "lvm2",
}
_FORBIDDEN = ("permission denied", "operation not permitted", "must be superuser", "must be root")
_FULL = ("no space left", "out of space", "quota exceeded", "insufficient free", "limit exceeded")


def attempt(runner: Runner, *argv: str) -> Completed:
    """Run a program to its end.

    Raises:
        UnavailableError: when it is not installed or hangs.
    """
    try:
        return runner.run(Command(argv, environment={"LC_ALL": "C"}), timeout=_SECONDS)
    except UnavailableError as error:
        package = _PACKAGES.get(argv[0])
        step = f"install it: apt-get install {package}" if package else error.next_step
        raise UnavailableError(error.thing, error.cause, step) from error


def succeed(runner: Runner, thing: str, *argv: str) -> str:
    """Run a program that must succeed; return what it printed.

    Raises:
        UnavailableError: when it does not, naming `thing` and what the program said.
    """
    done = attempt(runner, *argv)
    if done.exit_code != 0:
        raise failure(thing, done)
    return done.stdout


def failure(thing: str, done: Completed) -> UnavailableError:
    """Return the error that a failed program stands for."""
    said = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
    what = f"{' '.join(done.argv[:3])} ended with {done.exit_code}: {said or 'it said nothing'}"
    return UnavailableError(thing, what, _next_step(done.argv[0], said.lower()))


def _next_step(program: str, said: str) -> str:
    if any(word in said for word in _FORBIDDEN):
        if program == "zfs":
            return "run as root, or: zfs allow USER snapshot,hold,release,destroy,mount DATASET"
        return "run as root, or set `snapshot: none` for this source"
    if any(word in said for word in _FULL):
        return "free space or remove old snapshots of yours; ours are destroyed after each run"
    return "see the message; `snapshot: none` reads the files where they lie"
