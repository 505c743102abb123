"""What the report tells, worked out from the documents of a bundle alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmvault.core.units import parse_time
from llmvault.core.verdict import Verdict, combine
from llmvault.evidence.charts import Sample, Strip, TimeChart, strip, time_chart
from llmvault.evidence.kinds import BY_NAME, KINDS

DECISIVE = ("backup", "drill", "retention", "tamper", "verification", "coverage", "ledger")
"""Kinds whose newest statements decide the verdict of the whole."""

MOST_ROWS = 200
_WORST_FIRST = (Verdict.FAILED, Verdict.UNPROVEN, Verdict.PROVEN)
_Predicate = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """One promise of a plan over the period; seconds, None when nothing was measured."""

    chart: TimeChart | None
    objective_s: float
    newest_s: float | None
    worst_s: float | None

    @property
    def tone(self) -> Verdict:
        """Whether the worst of the period kept the promise."""
        if self.worst_s is None:
            return Verdict.UNPROVEN
        return Verdict.PROVEN if self.worst_s <= self.objective_s else Verdict.FAILED


@dataclass(frozen=True, slots=True)
class PlanStory:
    """One backup plan over the period.

    Attributes:
        copies: repositories that hold the newest proven recovery point, and the fewest of any.
    """

    name: str
    verdict: Verdict
    backups: int
    drills: int
    rpo: Measure
    rto: Measure
    copies: tuple[int, int] | None
    demanded_copies: int
    days: Strip


@dataclass(frozen=True, slots=True)
class KindStory:
    """The statements of one kind, counted."""

    title: str
    name: str
    counts: Mapping[Verdict, int]
    total: int


@dataclass(frozen=True, slots=True)
class FrameworkStory:
    """One framework: its findings, what is not satisfied first."""

    name: str
    title: str
    source: str
    satisfied: int
    findings: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Story:
    """The whole report.

    Attributes:
        shortfalls: statements that are not proven, newest first, at most ``MOST_ROWS``.
        deleted: what was deleted and why, newest first, at most ``MOST_ROWS``.
        others: statements of kinds that have no section of their own.
    """

    evidence: Mapping[str, Any]
    begin: datetime
    end: datetime
    generated: datetime
    verdict: Verdict
    reasons: tuple[str, ...]
    counts: Mapping[Verdict, int]
    kinds: tuple[KindStory, ...]
    plans: tuple[PlanStory, ...]
    coverage: tuple[Mapping[str, Any], ...]
    deleted: tuple[Mapping[str, Any], ...]
    deleted_total: int
    shortfalls: tuple[_Predicate, ...]
    shortfalls_total: int
    others: tuple[_Predicate, ...]
    others_total: int
    frameworks: tuple[FrameworkStory, ...]


def tell(evidence: Mapping[str, Any], statements: Sequence[_Predicate]) -> Story:
    """Return the story of a bundle.

    Args:
        evidence: the document ``evidence.json``.
        statements: the predicates of all statements.
    """
    begin, end = (parse_time(evidence["period"][key]) for key in ("from", "to"))
    verdict, reasons = verdict_of(statements)
    bad = [one for one in statements if one["verdict"] != Verdict.PROVEN]
    gone = [gone for one in statements for gone in one["facts"].get("removed", ())]
    others = [one for one in statements if one["kind"] not in (*DECISIVE, "policy", "restore")]
    coverage = [one for one in statements if one["kind"] == "coverage"]
    return Story(
        evidence=evidence,
        begin=begin,
        end=end,
        generated=parse_time(evidence["generated"]),
        verdict=verdict,
        reasons=reasons,
        counts=_counts(statements),
        kinds=_kinds(statements),
        plans=_plans(evidence, statements, begin, end),
        coverage=tuple(coverage[-1]["facts"]["sources"]) if coverage else (),
        deleted=tuple(sorted(gone, key=lambda one: one["when"], reverse=True)[:MOST_ROWS]),
        deleted_total=len(gone),
        shortfalls=_newest_first(bad)[:MOST_ROWS],
        shortfalls_total=len(bad),
        others=_newest_first(others)[:MOST_ROWS],
        others_total=len(others),
        frameworks=_frameworks(evidence),
    )


def verdict_of(statements: Sequence[_Predicate]) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict of the newest statements, and why it is not ``proven``.

    Evidence that had gone stale when the bundle was made counts as unproven.
    """
    newest: dict[tuple[str, str], _Predicate] = {}
    for one in sorted(statements, key=lambda one: one["collected"]):
        if one["kind"] in DECISIVE:
            newest[one["kind"], one["about"]] = one
    at = max((one["collected"] for one in statements if one["kind"] == "coverage"), default="")
    reasons, verdicts = [], []
    for (kind, about), one in sorted(newest.items()):
        verdict = Verdict(one["verdict"])
        if verdict is not Verdict.PROVEN:
            reasons.append(f"{kind_title(kind)}, {about}: {one['reason']}")
        elif one["expires"] is not None and one["expires"] < at:
            verdict = Verdict.UNPROVEN
            reasons.append(f"{kind_title(kind)}, {about}: stale since {one['expires']}")
        verdicts.append(verdict)
    kinds = {kind for kind, _ in newest}
    for needed in ("backup", "drill"):
        if needed not in kinds:
            verdicts.append(Verdict.UNPROVEN)
            reasons.append(f"no {needed} in the period")
    return combine(verdicts), tuple(reasons)


def _counts(statements: Sequence[_Predicate]) -> dict[Verdict, int]:
    found = [one["verdict"] for one in statements]
    return {verdict: found.count(verdict.value) for verdict in Verdict}


def _kinds(statements: Sequence[_Predicate]) -> tuple[KindStory, ...]:
    told = []
    for kind in KINDS:
        of_kind = [one for one in statements if one["kind"] == kind.name]
        if of_kind:
            told.append(KindStory(kind.title, kind.name, _counts(of_kind), len(of_kind)))
    return tuple(told)


def _newest_first(statements: Sequence[_Predicate]) -> tuple[_Predicate, ...]:
    return tuple(sorted(statements, key=lambda one: one["collected"], reverse=True))


def kind_title(name: str) -> str:
    """Return how a kind is called on the page."""
    return BY_NAME[name].title if name in BY_NAME else name


def _plans(
    evidence: Mapping[str, Any], statements: Sequence[_Predicate], begin: datetime, end: datetime
) -> tuple[PlanStory, ...]:
    by_plan: dict[tuple[str, str], list[_Predicate]] = {}
    for one in statements:
        if one["kind"] in ("backup", "drill"):
            by_plan.setdefault((one["kind"], one["facts"].get("plan", "")), []).append(one)
    told = [
        _plan(
            declared,
            by_plan.get(("backup", declared["name"]), []),
            by_plan.get(("drill", declared["name"]), []),
            begin,
            end,
        )
        for declared in evidence["policy"]["plans"]
    ]
    return tuple(sorted(told, key=lambda plan: (_WORST_FIRST.index(plan.verdict), plan.name)))


def _plan(
    declared: Mapping[str, Any],
    backups: Sequence[_Predicate],
    drills: Sequence[_Predicate],
    begin: datetime,
    end: datetime,
) -> PlanStory:
    rpo, rto = _rpo(declared, backups, begin, end), _rto(declared, drills, begin, end)
    proven = [one for one in backups if one["verdict"] == Verdict.PROVEN]
    copies = (
        (proven[-1]["facts"]["copies"], min(one["facts"]["copies"] for one in proven))
        if proven
        else None
    )
    newest = [Verdict(of_kind[-1]["verdict"]) for of_kind in (backups, drills) if of_kind]
    missing = [Verdict.UNPROVEN for of_kind in (backups, drills) if not of_kind]
    return PlanStory(
        name=declared["name"],
        verdict=combine([*newest, *missing, rpo.tone, rto.tone]),
        backups=len(backups),
        drills=len(drills),
        rpo=rpo,
        rto=rto,
        copies=copies,
        demanded_copies=len(declared["repositories"]),
        days=strip(
            [(parse_time(one["collected"]), Verdict(one["verdict"])) for one in backups], begin, end
        ),
    )


def _rpo(
    declared: Mapping[str, Any], backups: Sequence[_Predicate], begin: datetime, end: datetime
) -> Measure:
    """Return what a loss would have cost just before each recovery point, and at the end."""
    objective = declared["rpo_s"]
    samples: list[Sample] = []
    last: datetime | None = None
    for one in backups:
        moment, verdict = parse_time(one["collected"]), Verdict(one["verdict"])
        promised = one["facts"].get("rpo_objective_s") or objective
        if verdict is not Verdict.PROVEN:
            samples.append(Sample(moment, None, verdict, promised, f"{one['run']}: {verdict}"))
            continue
        if last is not None:
            gap = (moment - last).total_seconds()
            met = Verdict.PROVEN if gap <= promised else Verdict.FAILED
            told = f"{one['run']}: {gap / 3600:.1f} h after the one before"
            samples.append(Sample(moment, gap, met, promised, told, marked=gap > promised))
        last = moment
    if last is not None:
        gap = max(0.0, (end - last).total_seconds())
        met = Verdict.PROVEN if gap <= objective else Verdict.FAILED
        samples.append(Sample(end, gap, met, objective, f"at the end: {gap / 3600:.1f} h"))
    measured = [one.seconds for one in samples if one.seconds is not None]
    return Measure(
        time_chart(samples, begin, end),
        objective,
        measured[-1] if measured else None,
        max(measured, default=None),
    )


def _rto(
    declared: Mapping[str, Any], drills: Sequence[_Predicate], begin: datetime, end: datetime
) -> Measure:
    objective = declared["rto_s"]
    samples = [_drill_sample(one, objective) for one in drills]
    measured = [one.seconds for one in samples if one.seconds is not None]
    return Measure(
        time_chart(samples, begin, end),
        objective,
        measured[-1] if measured else None,
        max(measured, default=None),
    )


def _drill_sample(one: _Predicate, objective: float) -> Sample:
    measured = one["facts"].get("rto_measured_s")
    promised = one["facts"].get("rto_objective_s") or objective
    late = measured is not None and measured > promised
    return Sample(
        parse_time(one["collected"]),
        measured,
        Verdict.FAILED if late else Verdict(one["verdict"]),
        promised,
        f"{one['run']}: {one['verdict']}",
    )


def _frameworks(evidence: Mapping[str, Any]) -> tuple[FrameworkStory, ...]:
    told = []
    for framework in evidence["frameworks"]:
        found = [one for one in evidence["findings"] if one["framework"] == framework["name"]]
        found.sort(key=lambda one: one["state"] == "satisfied")
        satisfied = sum(1 for one in found if one["state"] == "satisfied")
        told.append(
            FrameworkStory(
                framework["name"], framework["title"], framework["source"], satisfied, tuple(found)
            )
        )
    return tuple(told)
