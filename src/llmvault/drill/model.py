"""What a drill decides and what it established, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmvault.core.units import format_time
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.engines.interface import EngineIdentity


@dataclass(frozen=True, slots=True)
class Phases:
    """Where the time of a drill went, in seconds; None for a phase that was not reached.

    Attributes:
        fetch: restic restores every source.
        verify: digests and structure, beyond what ran beside the fetch.
        load: engines started on the restored models and stores opened.
        first_answer: the first prompt, text or query was answered.
        total: from the start to the first answer; what the RTO is compared with.
    """

    fetch: float | None = None
    verify: float | None = None
    load: float | None = None
    first_answer: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise and what was measured, in seconds; ``met`` is None when nothing was measured."""

    objective_s: float
    measured_s: float | None

    @property
    def met(self) -> bool | None:
        """Whether the promise holds."""
        return None if self.measured_s is None else self.measured_s <= self.objective_s


@dataclass(frozen=True, slots=True)
class DrilledSource:
    """One source as the drill restored it."""

    name: str
    kind: str
    files: int
    bytes: int
    repository: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What a drill established.

    Attributes:
        point_finished: when the recovery point was completed; None when none was found.
        engines: engine name -> what answered.
        replay_seconds: what replaying the goldens took after the first answer.
        report: path of the HTML report.
    """

    id: str
    plan: str
    recovery_point: str
    host: str
    started: datetime
    point_finished: datetime | None
    verdict: Verdict
    checks: tuple[Check, ...]
    phases: Phases
    rto: Objective
    rpo: Objective
    sources: tuple[DrilledSource, ...]
    engines: Mapping[str, EngineIdentity]
    replay_seconds: float | None
    versions: Mapping[str, str]
    policy_digest: str
    report: str

    def as_json(self) -> dict[str, Any]:
        """Return the document of ``drill --json`` (a contract: scripts rely on it)."""
        return {
            "drill": self.id,
            "plan": self.plan,
            "recovery_point": self.recovery_point,
            "host": self.host,
            "started": format_time(self.started),
            "recovery_point_finished": (
                format_time(self.point_finished) if self.point_finished else None
            ),
            "verdict": self.verdict.value,
            "checks": [_check(check) for check in self.checks],
            "phases": _phases(self.phases),
            "rto": _objective(self.rto),
            "rpo": _objective(self.rpo),
            "sources": [_source(source) for source in self.sources],
            "engines": {name: _identity(found) for name, found in self.engines.items()},
            "replay_seconds": self.replay_seconds,
            "versions": dict(self.versions),
            "policy_digest": self.policy_digest,
            "report": self.report,
        }


def _check(check: Check) -> dict[str, str]:
    return {
        "name": check.name,
        "source": check.source,
        "verdict": check.verdict.value,
        "detail": check.detail,
    }


def _phases(phases: Phases) -> dict[str, float | None]:
    return {
        "fetch": phases.fetch,
        "verify": phases.verify,
        "load": phases.load,
        "first_answer": phases.first_answer,
        "total": phases.total,
    }


def _objective(objective: Objective) -> dict[str, float | bool | None]:
    return {
        "objective_s": objective.objective_s,
        "measured_s": objective.measured_s,
        "met": objective.met,
    }


def _source(source: DrilledSource) -> dict[str, Any]:
    return {
        "name": source.name,
        "kind": source.kind,
        "files": source.files,
        "bytes": source.bytes,
        "repository": source.repository,
        "snapshot": source.snapshot,
    }


def _identity(identity: EngineIdentity) -> dict[str, str]:
    return {
        "engine": identity.engine,
        "version": identity.version,
        "device": identity.device,
        "dtype": identity.dtype,
    }
