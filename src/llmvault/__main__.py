"""``llmvault`` and ``python -m llmvault``."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType

from llmvault.cli.main import run
from llmvault.cli.output import prepare_streams
from llmvault.settings import take_parent

_LEFT_BEHIND = 5


def main() -> int:
    """Run the command line of this process and return its exit code."""
    # A command makes much and throws little away: to look for garbage less often saves a tenth.
    gc.set_threshold(50_000, 20, 20)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has set it
            signal.signal(number, _leave)
    parent = take_parent()
    if parent is not None and os.getppid() != parent:
        # it was killed before the death signal, which core.process asks for, was in force
        return _LEFT_BEHIND
    prepare_streams()
    code = run(sys.argv[1:])
    gc.freeze()  # the process ends now: to look for garbage a last time takes longer than some runs
    return code


def _leave(number: int, _: FrameType | None) -> None:
    # an exception rather than an end: what was started is stopped, what was restored is destroyed
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
