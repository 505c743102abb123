"""What a drill will restore, and what its measurements mean. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from llmvault.core.units import format_seconds, format_size, format_time
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.model import Objective
from llmvault.recovery_points.model import Manifest

CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """What to drill.

    Attributes:
        recovery_point: ``latest``, ``random`` or an id.
        record: record the goldens that the recovery point lacks.
    """

    plan: str
    recovery_point: str = "latest"
    record: bool = False


def stored_sources(
    manifest: Manifest, repositories: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Check, ...]]:
    """Return the sources that can be restored, and a check for each that cannot."""
    stored: list[str] = []
    missing: list[Check] = []
    for source in manifest.sources:
        if source.snapshots.keys() & set(repositories):
            stored.append(source.name)
        else:
            detail = f"it was not stored: {source.reason}"
            missing.append(Check("restore", source.name, Verdict.UNPROVEN, detail))
    return tuple(stored), tuple(missing)


def space_check(needed: int, free: int, factor: float) -> Check:
    """Return whether the scratch host has room for a recovery point of `needed` bytes."""
    demanded = int(needed * factor)
    detail = f"{format_size(free)} are free, {format_size(demanded)} are needed"
    verdict = Verdict.PROVEN if free >= demanded else Verdict.UNPROVEN
    return Check("free-space", "", verdict, detail)


def point_check(manifest: Manifest) -> Check:
    """Return the check that the recovery point itself was taken without reservation."""
    detail = f"{manifest.id}, completed {format_time(manifest.finished)}"
    if manifest.verdict is not Verdict.PROVEN:
        reasons = [
            f"{source.name}: {source.reason}"
            for source in manifest.sources
            if source.verdict is not Verdict.PROVEN
        ]
        reasons += [c.detail for c in manifest.checks if c.verdict is not Verdict.PROVEN]
        detail = f"{detail}, was {manifest.verdict} when it was taken: {'; '.join(reasons)}"
    return Check("recovery-point", "", manifest.verdict, detail)


def rto_check(rto: Objective) -> Check:
    """Return whether it was back in time."""
    return _objective_check("rto", rto, "restored and answering after")


def rpo_check(rpo: Objective) -> Check:
    """Return whether the newest recovery point is young enough."""
    return _objective_check("rpo", rpo, "the newest recovery point is as old as")


def _objective_check(name: str, objective: Objective, phrase: str) -> Check:
    promised = format_seconds(objective.objective_s)
    if objective.measured_s is None:
        detail = f"nothing was measured; the objective is {promised}"
        return Check(name, "", Verdict.UNPROVEN, detail)
    detail = f"{phrase} {format_seconds(objective.measured_s)}; the objective is {promised}"
    return Check(name, "", Verdict.PROVEN if objective.met else Verdict.FAILED, detail)


def age_seconds(newest: datetime | None, now: datetime) -> float | None:
    """Return how much would be lost now: the age of the newest recovery point, never negative.

    None when there is none, and when it is dated in the future: then its age is not known.
    """
    if newest is None or in_the_future(newest, now):
        return None
    return max(0.0, (now - newest).total_seconds())


def in_the_future(taken: datetime, now: datetime) -> bool:
    """Whether a recovery point is dated later than the clocks of two hosts may differ."""
    return taken > now + CLOCK_TOLERANCE


def clock_check(newest: datetime | None, now: datetime) -> tuple[Check, ...]:
    """Return a check that says so when the newest recovery point is dated in the future."""
    if newest is None or not in_the_future(newest, now):
        return ()
    detail = (
        f"the newest recovery point is dated {format_time(newest)}, in the future: the clock of"
        " this host, or of the host that took it, is wrong"
    )
    return (Check("clock", "", Verdict.UNPROVEN, detail),)


def broken_sources(checks: Sequence[Check]) -> Mapping[str, str]:
    """Return source name -> detail of the first failed check of its restored bytes."""
    broken: dict[str, str] = {}
    for check in checks:
        if check.verdict is Verdict.FAILED and check.source:
            broken.setdefault(check.source, check.detail)
    return broken
