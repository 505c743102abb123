"""Command lines in forks of a process that has imported llmvault already.

Starting Python and importing everything takes longer than most commands do. Each fork is a process
of its own, with its own environment, streams and exit code, and ends as an ordinary one does; so
this tells the same as a new process wherever starting it is not what is tested.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parents[2]
IMPORTED = (
    *("llmvault.__main__", "llmvault.app", "llmvault.app.retention", "llmvault.app.ledger"),
    *("llmvault.access.run", "llmvault.catalog.session", "llmvault.retention.run"),
    *("llmvault.retention.account", "llmvault.ledger.writer", "llmvault.keys.signing"),
    *("llmvault.cli.approve", "llmvault.cli.hold", "llmvault.cli.retention"),
    *("llmvault.cli.recovery_points", "llmvault.app.recovery", "rich.console", "rich.table"),
)


@cache
def _server() -> subprocess.Popen[str]:
    """Start what forks; it ends when this process does, since its input ends then."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.forked"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_forked(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a command line of llmvault to its end; return exit code, output and errors."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        files = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (output, errors)]
        wanted = {"arguments": list(arguments), "environment": dict(environment), "files": files}
        server.stdin.write(json.dumps(wanted) + "\n")
        server.stdin.flush()
        code = json.loads(server.stdout.readline())
        return code, _told(output), _told(errors)


def _told(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


def _serve() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("llmvault.policy.model").Policy.model_rebuild()
    for line in sys.stdin:
        wanted = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(wanted)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


def _become(wanted: Mapping[str, Any]) -> NoReturn:
    from llmvault.__main__ import main

    for number, place in ((0, os.devnull), *enumerate(wanted["files"], start=1)):
        descriptor = os.open(place, os.O_RDWR)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir("/")
    sys.argv = ["llmvault", *wanted["arguments"]]
    sys.exit(main())


if __name__ == "__main__":
    _serve()
