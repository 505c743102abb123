"""Progress bars; apart from progress.py because rich is slow to import."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as Display
from rich.text import Text

from llmvault.cli.output import printable
from llmvault.cli.stage import Stage, finished_line, join
from llmvault.core.clock import Clock

_SECONDS_BETWEEN_UPDATES = 0.1
_REDRAWS_PER_SECOND = 8
_BAR_WIDTH = 30


class Bars:
    """One bar for each task that runs; a line remains of each that ended.

    A context: the bars are drawn while it is open. May be called from several threads, at any
    rate: what comes faster than the eye can follow is not drawn.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, tuple[TaskID, Stage]] = {}
        self._display = Display(
            _NameColumn(),
            BarColumn(_BAR_WIDTH),
            _AmountColumn(),
            _OutlookColumn(clock),
            console=console,
            get_time=clock.monotonic,
            refresh_per_second=_REDRAWS_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._display.stop()

    def start(self, task: str, total: int | None) -> None:
        """Draw a bar, or begin the task's bar again."""
        with self._lock:
            now = self._clock.monotonic()
            stage = Stage(total, now, now)
            self._forget(task)
            shown = self._display.add_task(printable(task), total=total, stage=stage)
            self._running[task] = (shown, stage)

    def advance(self, task: str, done: int) -> None:
        """Let the bar grow, unless that was done just now."""
        with self._lock:
            if task not in self._running:
                return
            shown, stage = self._running[task]
            stage.done = done
            now = self._clock.monotonic()
            if now - stage.told >= _SECONDS_BETWEEN_UPDATES:
                stage.told = now
                self._display.update(shown, completed=done)

    def finish(self, task: str, note: str = "") -> None:
        """Replace the bar by a line; a task that never started leaves one only with a note."""
        with self._lock:
            now = self._clock.monotonic()
            running = self._forget(task)
            if running is not None:
                self._print(finished_line(task, running, now, note))
            elif note:
                self._print(join(task, note))

    def redraw(self) -> None:
        """Draw now what would be drawn within a moment."""
        self._display.refresh()

    def _forget(self, task: str) -> Stage | None:
        shown, stage = self._running.pop(task, (None, None))
        if shown is not None:
            self._display.remove_task(shown)
        return stage

    def _print(self, line: str) -> None:
        self._display.console.print(
            printable(line), markup=False, highlight=False, emoji=False, soft_wrap=True
        )


class _NameColumn(ProgressColumn):
    """The task, never taken for markup."""

    def render(self, task: Task) -> Text:
        return Text(task.description, overflow="ellipsis", no_wrap=True)


class _AmountColumn(ProgressColumn):
    """Bytes done, and of how many."""

    def render(self, task: Task) -> Text:
        stage: Stage = task.fields["stage"]
        return Text(stage.amount(), no_wrap=True)


class _OutlookColumn(ProgressColumn):
    """Rate and time left."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def render(self, task: Task) -> Text:
        stage: Stage = task.fields["stage"]
        return Text(stage.outlook(self._clock.monotonic()), style="dim", no_wrap=True)
