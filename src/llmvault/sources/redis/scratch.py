"""A private Redis server on an RDB file: on a socket of its owner alone, and writing nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.core.process import Command, Process, Runner
from llmvault.sources.redis.client import open_redis

if TYPE_CHECKING:
    from redis import Redis

_START_SECONDS = 3600.0
_PAUSE_SECONDS = 0.02
_VERSION = re.compile(r"\bv=(\d+(?:\.\d+)*)")
_DATABASES = "1024"
_CANNOT_READ = ("Can't handle RDB format version", "no matching module", "module data I can't load")
_FAULTS = (
    "Wrong signature",
    "Short read",
    "Internal error in RDB",
    "Unexpected EOF",
    "RDB CRC error",
    "Wrong RDB checksum",
    "Bad file format",
    "rror reading the RDB",
    "rror trying to load the RDB",
    "BUG REPORT",
    *_CANNOT_READ,
)


def server_program(binaries: Path | None) -> str:
    """Return what to run."""
    return str(binaries / "redis-server") if binaries is not None else "redis-server"


def program_version(runner: Runner, program: str) -> str:
    """Return the version of the server's program.

    Raises:
        UnavailableError: when there is none.
    """
    done = runner.run(Command((program, "--version")), timeout=30)
    found = _VERSION.search(done.stdout)
    if found is None:
        raise UnavailableError(program, "it does not state a version as redis-server does")
    return found.group(1)


@contextmanager
def private_server(runner: Runner, clock: Clock, program: str, rdb: Path) -> Iterator[Redis]:
    """Run a server on a copy of the data that a file holds, which it does not write to.

    Raises:
        IntegrityError: when the file is damaged.
        UnavailableError: when there is no such program, or it is too old for the file.
    """
    # the path of a socket has room for some 100 bytes
    with tempfile.TemporaryDirectory(prefix="llmvault-redis-") as home:
        socket, log = Path(home) / "socket", Path(home) / "log"
        command = Command(_argv(program, rdb, socket))
        with (
            runner.start(command, log=log) as process,
            open_redis(f"unix://{socket}", "", None, probe=False) as client,
        ):
            _wait_until_loaded(process, client, log, clock, rdb)
            yield client


def _argv(program: str, rdb: Path, socket: Path) -> tuple[str, ...]:
    options = {
        "--port": "0",
        "--unixsocket": str(socket),
        "--unixsocketperm": "700",
        "--dir": str(rdb.parent),
        "--dbfilename": rdb.name,
        "--save": "",
        "--appendonly": "no",
        "--daemonize": "no",
        "--databases": _DATABASES,
        "--maxmemory-policy": "noeviction",
    }
    return (program, *(part for option in options.items() for part in option))


def _wait_until_loaded(process: Process, client: Redis, log: Path, clock: Clock, rdb: Path) -> None:
    import redis

    give_up = clock.monotonic() + _START_SECONDS
    while True:
        if not process.running():
            raise _ended(log, rdb)
        with suppress(redis.ConnectionError):  # it does not listen yet, or has just ended
            if not client.info("persistence").get("loading"):
                return
        if clock.monotonic() > give_up:
            raise UnavailableError(f"RDB file {rdb}", "it is not loaded after an hour")
        clock.sleep(_PAUSE_SECONDS)


def _ended(log: Path, rdb: Path) -> VaultError:
    """Return what the server said when it ended."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line.partition("# ")[2] or line for line in lines]
    for line in said:
        if any(words in line for words in _CANNOT_READ):
            return UnavailableError(
                f"RDB file {rdb}",
                f"this redis-server cannot read it: {line.strip()[:300]}",
                "install a redis-server as new as the one that wrote it, or name its directory "
                "in binaries",
            )
    for line in said:
        if any(words in line for words in _FAULTS):
            return IntegrityError(f"RDB file {rdb}", f"it is damaged: {line.strip()[:300]}")
    last = said[-1].strip()[:300] if said else ""
    return UnavailableError(
        f"RDB file {rdb}", f"the server that loads it ended: {last}", "look at memory, try again"
    )
