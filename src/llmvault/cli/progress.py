"""Progress as people see it: bars on a terminal, now and then a line elsewhere.

It is told on standard error. In JSON mode it is told only to a terminal.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llmvault.cli.output import Output
from llmvault.cli.stage import Stage, finished_line, join
from llmvault.core.clock import Clock, SystemClock
from llmvault.core.progress import Progress, Silent
from llmvault.core.units import format_size

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(output: Output, clock: Clock | None = None) -> Iterator[Progress]:
    """Yield what tells the progress of a command; bars are gone when the context is left."""
    clock = clock or SystemClock()
    if sys.stderr.isatty() and not output.remarks.is_dumb_terminal:
        from llmvault.cli.bars import Bars

        with Bars(output.remarks, clock) as bars:
            yield bars
    elif output.json:
        yield Silent()
    else:
        yield Lines(output.note, clock)


class Lines:
    """Tells progress in plain lines: a task's start and end, and every ten seconds how far it is.

    Args:
        write: takes one line.
    """

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._stages: dict[str, Stage] = {}

    def start(self, task: str, total: int | None) -> None:
        """Tell that a task begins."""
        with self._lock:
            now = self._clock.monotonic()
            self._stages[task] = Stage(total, now, now)
            self._write(join(f"{task}: started", "" if total is None else format_size(total)))

    def advance(self, task: str, done: int) -> None:
        """Remember how far a task is; tell it when it was long silent."""
        with self._lock:
            stage = self._stages.get(task)
            if stage is None:
                return
            stage.done = done
            now = self._clock.monotonic()
            if now - stage.told >= _SECONDS_BETWEEN_LINES:
                stage.told = now
                self._write(join(f"{task}:", stage.amount(), stage.outlook(now)))

    def finish(self, task: str, note: str = "") -> None:
        """Tell that a task ended; one that never started is told only if there is a note."""
        with self._lock:
            stage = self._stages.pop(task, None)
            if stage is not None:
                self._write(finished_line(task, stage, self._clock.monotonic(), note))
            elif note:
                self._write(join(task, note))
