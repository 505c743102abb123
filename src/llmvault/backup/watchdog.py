"""The process that sets writers free, whatever becomes of the backup that held them still.

    python -P -m llmvault.backup.watchdog

It leaves the process group and session of whoever starts it, so that no signal meant for them
reaches it. Reads one JSON object from standard input (``thaw``: program and arguments; ``timeout``
and ``thaw_seconds``) and answers ``armed``. Then it waits for a second line, for the end of its
input, or for the time to be over; whichever comes first, it runs the thaw, three times at most, and
tells how that went as ``{"why", "fault"}``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress

from llmvault.core.clock import Clock, SystemClock
from llmvault.core.errors import VaultError
from llmvault.core.process import Command, LocalRunner, Runner
from llmvault.settings import load_settings

_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0
_SAID = 200


def main() -> None:
    """Wait for a reason to thaw, and thaw."""
    if os.fork():
        os._exit(0)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    order = json.loads(sys.stdin.buffer.readline())
    runner = LocalRunner(load_settings(policies=None, state=None).environment)
    _tell("armed")
    why = _reason(float(order["timeout"]))
    fault = _thaw(runner, SystemClock(), tuple(order["thaw"]), float(order["thaw_seconds"]))
    _tell(json.dumps({"why": why, "fault": fault}))


def _reason(seconds: float) -> str:
    """Wait; return ``told``, ``alone`` (whoever started this is gone) or ``late``."""
    readable, _, _ = select.select([sys.stdin.buffer], [], [], seconds)
    if not readable:
        return "late"
    return "told" if sys.stdin.buffer.readline() else "alone"


def _thaw(runner: Runner, clock: Clock, argv: tuple[str, ...], seconds: float) -> str:
    """Run the thaw until it succeeds; return what went wrong in the end, or nothing."""
    fault = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            clock.sleep(_PAUSE_SECONDS)
        try:
            done = runner.run(Command(argv), timeout=seconds)
        except VaultError as error:
            fault = str(error)
            continue
        if done.exit_code == 0:
            return ""
        said = (done.stderr or done.stdout).strip()[-_SAID:]
        fault = f"it ended with exit code {done.exit_code}: {said or 'it said nothing'}"
    return fault


def _tell(line: str) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
