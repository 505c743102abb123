"""A run of a job: a command line of llmvault in a process of its own, with its output in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from llmvault.core.clock import Clock
from llmvault.core.files import private_directory
from llmvault.core.process import Command, Process, Runner
from llmvault.core.units import format_seconds
from llmvault.schedule.model import OF_EXIT_CODE, Job, Outcome, Run
from llmvault.settings import PARENT

_LOGS_KEPT = 20
_TAIL = 2000
_STEP_SECONDS = 0.5


@dataclass
class ChildExecution:
    """Runs command lines with the policy that is in force.

    Attributes:
        policies: returns where the copy of the policy in force is.
        finish_within: seconds that a run may go on once all are to stop; then it is told to end,
            and is resumed by the next run.
        backups: the socket at which backups are asked for; they are started here when None.
    """

    runner: Runner
    clock: Clock
    state: Path
    policies: Callable[[], Path]
    finish_within: float = 60.0
    backups: Path | None = None

    def __call__(
        self, job: Job, run: Run, arguments: Sequence[str], stop: Event
    ) -> tuple[Outcome, str]:
        """Return how it ended, and the last lines that it printed."""
        log = self._log(job, run)
        places = ("--policies", str(self.policies()), "--state", str(self.state))
        words = (*arguments, *places)
        if self.backups is not None and job.kind == "backup":
            words = ("schedule", "ask", *places, str(self.backups), "--", *arguments)
        argv = (sys.executable, "-m", "llmvault", *words)
        command = Command(argv, environment={PARENT: str(os.getpid())})
        with self.runner.start(command, log=log) as process:
            ended = self._wait(process, job.limit.total_seconds(), stop)
        tail = log.read_bytes()[-_TAIL:].decode("utf-8", "replace").strip()
        if ended is None:
            limit = format_seconds(job.limit.total_seconds())
            return Outcome.HUNG, f"{tail}\nstopped after its limit of {limit}".strip()
        if isinstance(ended, Outcome):
            return ended, f"{tail}\nstopped with the scheduler; it will be run again".strip()
        return OF_EXIT_CODE.get(ended, Outcome.DIED), tail or f"exit code {ended}"

    def _wait(self, process: Process, limit: float, stop: Event) -> int | Outcome | None:
        """Return the exit code, ``INTERRUPTED`` when all are to stop, None when it hangs."""
        began, told = self.clock.monotonic(), None
        while True:
            try:
                return process.wait(_STEP_SECONDS)
            except TimeoutError:
                at = self.clock.monotonic()
            if at - began > limit:
                return None
            if stop.is_set():
                told = at if told is None else told
                if at - told >= self.finish_within:
                    return Outcome.INTERRUPTED

    def _log(self, job: Job, run: Run) -> Path:
        directory = self.state / "logs" / "jobs" / job.name
        private_directory(directory)
        for old in sorted(directory.glob("*.log"))[: -_LOGS_KEPT + 1]:
            old.unlink(missing_ok=True)
        log = directory / f"{run.started:%Y%m%dT%H%M%S.%fZ}-{run.attempt}.log"
        log.touch(mode=0o600)
        return log
