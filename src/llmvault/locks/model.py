"""What is known of the locks of a repository's objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from llmvault.core.canonical import digest
from llmvault.core.verdict import Verdict
from llmvault.objectstore.model import LockMode


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of one object version, as it was last seen or set.

    Attributes:
        version: which version; another one on top makes this worthless.
        until: None when the version has no lock.
    """

    version: str
    mode: LockMode | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What the policy demands of every object.

    Attributes:
        period_s: how long a lock is set for.
        renewal_s: a lock that lapses sooner than this is extended.
    """

    mode: LockMode
    period_s: float
    renewal_s: float


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a repository that must be kept.

    Attributes:
        current: path in the repository -> its current version.
        missing: packs that the index names and a listing does not show: hidden, or gone.
        unreferenced: packs that no index names; they are not extended.
    """

    current: Mapping[str, str]
    missing: tuple[str, ...]
    unreferenced: int


@dataclass(frozen=True, slots=True)
class Extension:
    """One lock to be made longer, or to be set; never shorter than it is."""

    name: str
    version: str
    until: datetime


@dataclass(frozen=True, slots=True)
class LockPlan:
    """What to extend, and how things stand before.

    Attributes:
        until: the new date of locks that are extended, where they do not last longer already.
        lapsed: objects whose lock has ended already.
        unlocked: objects that have none, or one in a weaker mode than declared.
        earliest: when the first lock lapses; None when an object has none or nothing is kept.
    """

    mode: LockMode
    until: datetime
    extend: tuple[Extension, ...]
    objects: int
    lapsed: tuple[str, ...]
    unlocked: tuple[str, ...]
    missing: tuple[str, ...]
    unreferenced: int
    earliest: datetime | None

    @property
    def digest(self) -> str:
        """Names this plan: SHA-256 over what is extended until when."""
        rows = [[one.name, one.version, one.until.isoformat()] for one in self.extend]
        return digest([self.mode.value, self.until.isoformat(), rows])

    @property
    def verdict(self) -> Verdict:
        """Whether every object that must be kept is locked now."""
        if self.missing or self.lapsed or self.unlocked:
            return Verdict.FAILED
        return Verdict.PROVEN if self.objects else Verdict.UNPROVEN


@dataclass(frozen=True, slots=True)
class LockReport:
    """How the locks of one repository stand, and what it took to tell.

    Attributes:
        extended: locks that were made longer in this run.
        requests: operation -> how often the server was asked.
        reason: why the verdict is not proven; empty otherwise.
    """

    repository: str
    verdict: Verdict
    plan: LockPlan
    extended: int
    requests: Mapping[str, int]
    seconds: float
    planning_seconds: float
    reason: str = ""

    @property
    def requests_per_object(self) -> float:
        """Return requests for each object that is kept."""
        return sum(self.requests.values()) / max(1, self.plan.objects)
