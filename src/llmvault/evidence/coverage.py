"""How much of what the policy protects was backed up and drilled lately. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from llmvault.core.canonical import digest
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict, combine
from llmvault.evidence.model import Statement
from llmvault.evidence.observed import Observed


def coverage_statement(seen: Observed, statements: Sequence[Statement]) -> Statement:
    """Return for every source of the policy whether its newest backup and drill prove it."""
    rows = [_row(seen, name, statements) for name in seen.policy.sources]
    verdict = combine(Verdict(row["verdict"]) for row in rows)
    bad = [row["source"] for row in rows if row["verdict"] != Verdict.PROVEN]
    return Statement(
        kind="coverage",
        run=format_time(seen.period.end),
        about="sources of the policy",
        subject_sha256=digest(rows),
        verdict=verdict,
        reason=f"{len(bad)} of {len(rows)} sources are not proven" if bad or not rows else "",
        collected=seen.period.end,
        expires=None,
        facts={"sources": rows},
    )


def _row(seen: Observed, source: str, statements: Sequence[Statement]) -> dict[str, Any]:
    plans = [plan.name for plan in seen.policy.plans if source in plan.sources]
    reasons = [] if plans else ["no plan has it"]
    told: dict[str, Any] = {"source": source, "kind": seen.policy.sources[source], "plans": plans}
    verdicts = []
    for kind in ("backup", "drill"):
        verdict, when, why = _newest(kind, source, plans, statements, seen.period.end)
        told[kind] = {"verdict": verdict.value, "collected": when}
        verdicts.append(verdict)
        reasons.extend(why)
    return told | {"verdict": combine(verdicts).value, "reasons": reasons}


def _newest(
    kind: str,
    source: str,
    plans: Sequence[str],
    statements: Sequence[Statement],
    at: datetime,
) -> tuple[Verdict, str, list[str]]:
    found = [one for one in statements if one.kind == kind and one.facts.get("plan") in plans]
    with_source = [(one, said) for one in found for said in _said(one, source)]
    if not with_source:
        return Verdict.UNPROVEN, "", [f"no {kind} in the period"] if plans else []
    newest, said = max(with_source, key=lambda pair: pair[0].collected)
    when = format_time(newest.collected)
    if newest.expires is not None and newest.expires < at:
        return Verdict.UNPROVEN, when, [f"the newest {kind} is stale"]
    verdict = combine([said, _without_sources(newest)])
    return verdict, when, [] if verdict is Verdict.PROVEN else [f"the newest {kind} is {verdict}"]


def _said(statement: Statement, source: str) -> Iterator[Verdict]:
    """Yield what a statement says of one source."""
    for one in statement.facts.get("sources", ()):
        if one["name"] == source:
            checks = [
                Verdict(check["verdict"])
                for check in statement.facts.get("checks", ())
                if check["source"] == source
            ]
            yield combine([*checks, Verdict(one.get("verdict", statement.verdict))])


def _without_sources(statement: Statement) -> Verdict:
    """Return the verdict of a statement where its sources do not account for it."""
    blamed = any(
        one.get("verdict", Verdict.PROVEN) != Verdict.PROVEN
        for key in ("sources", "checks")
        for one in statement.facts.get(key, ())
    )
    return Verdict.PROVEN if blamed else statement.verdict
