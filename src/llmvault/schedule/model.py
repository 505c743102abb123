"""Jobs, their runs and what is wrong with them, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from llmvault.policy.cron import Cron

FLEET = "*"
BEATS_UNTIL_SILENT = 5


class Outcome(StrEnum):
    """How a run ended."""

    RUNNING = "running"
    PROVEN = "proven"
    FAILED = "failed"
    UNPROVEN = "unproven"
    WRONG = "wrong"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    HUNG = "hung"
    DIED = "died"
    INTERRUPTED = "interrupted"


OF_EXIT_CODE: Mapping[int, Outcome] = {
    0: Outcome.PROVEN,
    1: Outcome.FAILED,
    2: Outcome.WRONG,
    3: Outcome.UNPROVEN,
    4: Outcome.REFUSED,
    5: Outcome.UNAVAILABLE,
}
ENDED = frozenset({Outcome.PROVEN, Outcome.FAILED, Outcome.UNPROVEN})
AGAIN = frozenset({Outcome.DIED, Outcome.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day.

    Attributes:
        start, end: minutes after midnight; it goes past midnight when the end is not later.
        days: weekdays on which it begins, 0 is Monday.
    """

    start: int
    end: int
    days: frozenset[int]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is done again and again.

    Attributes:
        owner: the host that does it, or ``*`` and a group when one host of that group does.
        cron, every: when; one of them.
        offset_seed: what the start within `jitter` depends on.
        only_in, never_in: windows that allow or forbid a start.
        config: the kind's own settings, as the policy has them.
    """

    name: str
    kind: str
    owner: str
    cron: Cron | None
    every: timedelta | None
    zone: ZoneInfo
    jitter: timedelta
    grace: timedelta
    limit: timedelta
    retries: int
    backoff: timedelta
    only_in: tuple[Window, ...] = ()
    never_in: tuple[Window, ...] = ()
    config: Any = field(default=None, compare=False)

    @property
    def shared(self) -> bool:
        """Whether one host does it for others too."""
        return self.owner.startswith(FLEET)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job. `scheduled` and the job name it: it happens once.

    Attributes:
        attempt: counted from 1; a run that died or found something unavailable is tried again.
        missed: earlier times that this run stands for.
        detail: the last lines that it printed.
    """

    job: str
    kind: str
    owner: str
    host: str
    scheduled: datetime
    started: datetime
    finished: datetime | None
    attempt: int
    outcome: Outcome
    missed: int = 0
    detail: str = ""

    @property
    def id(self) -> str:
        """What names it."""
        return f"{self.owner}/{self.job}/{self.scheduled.isoformat()}"

    @property
    def shared(self) -> bool:
        """Whether one host did it for others too."""
        return self.owner.startswith(FLEET)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a job.

    Attributes:
        declared: since when it is in the policy.
        runs: its newest runs, in any order.
    """

    declared: datetime
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """A run that is to start now."""

    scheduled: datetime
    attempt: int
    missed: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person must know.

    Attributes:
        key: the same thing has the same key, so that it is told once.
        kind: e.g. ``overdue``; notifications are chosen by it.
    """

    key: str
    kind: str
    severity: str
    host: str
    subject: str
    message: str
    next_step: str
