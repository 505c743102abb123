"""What is known of the jobs and their runs: in memory, in a file of this host, in the catalog.

The catalog tells what was missed and what the fleet does. The file lets this host go on with its
own jobs while a shared database is gone; what could not be entered is entered later. Jobs of the
fleet need the catalog: without it nobody could know that another host is not at it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from llmvault.core.errors import UnavailableError, VaultError
from llmvault.core.files import write_durably
from llmvault.core.units import format_time, parse_time
from llmvault.schedule.model import Due, Job, Outcome, Run, Seen
from llmvault.schedule.plan import CLOCK_AHEAD, newest_run

if TYPE_CHECKING:
    from llmvault.catalog.model import RunEntry
    from llmvault.catalog.session import Catalog

_log = logging.getLogger(__name__)
_RUNS_KEPT = 5
_DETAIL_KEPT = 2000


class Journal:
    """Runs of the jobs that this host does; safe to use from several threads.

    Args:
        host: this host.
        file: where this host's own runs are kept, as JSON.
        open_catalog: returns the catalog, or raises while it cannot be reached.

    Attributes:
        trouble: why the catalog could not be used last; None when it could.
        file_trouble: why the file could not be written last; None when it could.
    """

    def __init__(self, host: str, file: Path, open_catalog: Callable[[], Catalog]) -> None:
        self._owners = {host}
        self._host = host
        self._file = file
        self._open = open_catalog
        self._lock = RLock()
        self._seen: dict[str, Seen] = {}
        self._pending: dict[str, Run] = {}
        self.trouble: VaultError | None = None
        self.file_trouble: VaultError | None = None
        self._read()

    def declare(self, jobs: Iterable[Job], now: datetime) -> None:
        """Take note of the jobs that there are; a new one is first due after `now`."""
        wanted = tuple(jobs)
        with self._lock:
            self.follow(wanted)
            for job in wanted:
                self._seen.setdefault(job.name, Seen(now))
            self._keep()

    def follow(self, jobs: Iterable[Job]) -> None:
        """Ask the catalog for runs of these jobs, too, from now on."""
        self._owners |= {job.owner for job in jobs}

    def refresh(self, now: datetime) -> bool:
        """Enter what waits, learn what the catalog knows; return whether it could be reached."""
        with self._lock:
            try:
                catalog = self._open()
                waiting = tuple(self._pending.values())
                for run in waiting:
                    catalog.put_run(entry_of(run))
                    del self._pending[run.id]
                if waiting:
                    self._keep()
                found = catalog.newest_runs(self._owners, now + CLOCK_AHEAD)
            except VaultError as error:
                self.trouble = error
                return False
            self.trouble = None
            self._drop_future(now)
            for entry in found:
                self._add(run_of(entry))
            return True

    def seen(self, job: Job) -> Seen:
        """Return what is known of a job."""
        with self._lock:
            return self._seen[job.name]

    def known(self, job: Job, now: datetime) -> Seen:
        """Return what is known of a job, also of one that no scheduler has taken note of."""
        with self._lock:
            return self._seen.get(job.name, Seen(now))

    def running(self) -> tuple[Run, ...]:
        """Return the runs that are said to be going on."""
        with self._lock:
            runs = [run for seen in self._seen.values() for run in seen.runs]
        return tuple(run for run in runs if run.outcome is Outcome.RUNNING)

    def claim(self, job: Job, due: Due, now: datetime) -> Run | None:
        """Take a run for this host; None when another host has it or that cannot be known."""
        run = Run(
            job.name, job.kind, job.owner, self._host, due.scheduled, now, None, due.attempt,
            Outcome.RUNNING, due.missed,
        )  # fmt: skip
        with self._lock:
            if job.shared and not self._claim_for_the_fleet(job, run, now):
                return None
            self._add(run)
            if not job.shared:
                self._enter(run)
            return run

    def finish(self, run: Run, outcome: Outcome, detail: str, now: datetime) -> Run:
        """Record how a run ended."""
        ended = replace(run, finished=now, outcome=outcome, detail=detail[-_DETAIL_KEPT:])
        with self._lock:
            self._add(ended)
            self._enter(ended)
        return ended

    def _claim_for_the_fleet(self, job: Job, run: Run, now: datetime) -> bool:
        last = newest_run(self._seen[job.name], now)
        again = last is not None and last.id == run.id
        try:
            return self._open().claim_run(entry_of(run), last.attempt if last and again else None)
        except VaultError as error:
            self.trouble = error
            return False

    def _enter(self, run: Run) -> None:
        """Write a run down here, then in the catalog as soon as that can be reached."""
        self._pending[run.id] = run
        self._keep()
        try:
            self._open().put_run(entry_of(run))
        except VaultError as error:
            self.trouble = error
            _log.warning("%s", error)
            return
        del self._pending[run.id]
        self._keep()

    def _drop_future(self, now: datetime) -> None:
        """Forget runs of a clock that was ahead, so that they do not crowd out the others."""
        for name, seen in self._seen.items():
            runs = tuple(run for run in seen.runs if run.started <= now + CLOCK_AHEAD)
            self._seen[name] = replace(seen, runs=runs)

    def _add(self, run: Run) -> None:
        seen = self._seen.get(run.job, Seen(run.scheduled))
        others = [one for one in seen.runs if one.id != run.id]
        newest = sorted((*others, run), key=lambda one: one.started)[-_RUNS_KEPT:]
        self._seen[run.job] = replace(seen, runs=tuple(newest))

    def _keep(self) -> None:
        document = {
            "jobs": {
                name: {
                    "declared": format_time(seen.declared),
                    "runs": [_json(run) for run in seen.runs if not run.shared],
                }
                for name, seen in self._seen.items()
            },
            "pending": [_json(run) for run in self._pending.values()],
        }
        try:
            write_durably(self._file, json.dumps(document).encode())
        except OSError as error:
            self.file_trouble = UnavailableError(
                str(self._file), f"cannot be written: {error.strerror}", "make room on this disk"
            )
            _log.warning("%s", self.file_trouble)
        else:
            self.file_trouble = None

    def _read(self) -> None:
        try:
            document = json.loads(self._file.read_bytes())
            for name, one in document["jobs"].items():
                runs = tuple(_run(values) for values in one["runs"])
                self._seen[name] = Seen(parse_time(one["declared"]), runs)
            self._pending = {run.id: run for run in map(_run, document["pending"])}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s cannot be read (%s); the catalog is asked instead", self._file, error)
            self._seen, self._pending = {}, {}


def entry_of(run: Run) -> RunEntry:
    """Return how the catalog lists a run."""
    from llmvault.catalog.model import RunEntry

    return RunEntry(id=run.id, **{**_values(run), "outcome": run.outcome.value})


def run_of(entry: RunEntry) -> Run:
    """Return the run that a catalog entry lists."""
    values = {name: getattr(entry, name) for name in Run.__slots__}
    return Run(**{**values, "outcome": Outcome(entry.outcome)})


def _json(run: Run) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in _values(run).items()
    }


def _values(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in Run.__slots__}


def _run(values: Mapping[str, Any]) -> Run:
    times = {
        name: parse_time(values[name]) if values[name] else None
        for name in ("scheduled", "started", "finished")
    }
    return Run(**{**values, **times, "outcome": Outcome(values["outcome"])})
