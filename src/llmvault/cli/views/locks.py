"""Locks and undone deletions, for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmvault.cli.output import Output
from llmvault.core.units import format_time
from llmvault.core.verdict import combine
from llmvault.locks.model import LockReport
from llmvault.locks.undelete import UndeletePlan


def show_locks(output: Output, reports: Sequence[LockReport]) -> int:
    """Show how locks stand; return the exit code."""
    verdict = combine(report.verdict for report in reports)
    output.emit_json({"verdict": verdict.value, "repositories": [_json(one) for one in reports]})
    output.show_table(
        "Locks",
        (
            "repository", "verdict", "objects", "earliest lapse", "to extend", "extended",
            "requests", "per object", "reason",
        ),
        [_row(report) for report in reports],
    )  # fmt: skip
    return verdict.exit_code


def _row(report: LockReport) -> tuple[object, ...]:
    plan = report.plan
    return (
        report.repository,
        report.verdict,
        f"{plan.objects:,}",
        f"{plan.earliest:%Y-%m-%d %H:%M}" if plan.earliest else "-",
        f"{len(plan.extend):,}",
        f"{report.extended:,}",
        f"{sum(report.requests.values()):,}",
        f"{report.requests_per_object:.2f}",
        report.reason,
    )


def _json(report: LockReport) -> dict[str, Any]:
    plan = report.plan
    return {
        "repository": report.repository,
        "verdict": report.verdict.value,
        "reason": report.reason,
        "objects": plan.objects,
        "earliest_lapse": format_time(plan.earliest) if plan.earliest else None,
        "to_extend": len(plan.extend),
        "extended": report.extended,
        "lapsed": len(plan.lapsed),
        "unlocked": len(plan.unlocked),
        "missing": len(plan.missing),
        "unreferenced_packs": plan.unreferenced,
        "requests": dict(report.requests),
        "requests_per_object": round(report.requests_per_object, 3),
        "seconds": report.seconds,
        "planning_seconds": report.planning_seconds,
    }


def show_undelete(output: Output, repository: str, plan: UndeletePlan, done: int | None) -> int:
    """Show what comes or came back; return the exit code."""
    first = format_time(plan.first) if plan.first else None
    last = format_time(plan.last) if plan.last else None
    output.emit_json(
        {
            "repository": repository,
            "before": format_time(plan.before),
            "objects": len(plan.returns),
            "first_deletion": first,
            "last_deletion": last,
            "brought_back": done,
            "plan": plan.digest,
        }
    )
    if not plan.returns:
        output.show(f"Nothing of {repository} was hidden or overwritten since that moment.")
    elif done is None:
        output.show(
            f"{len(plan.returns):,} objects would come back; they were hidden or overwritten"
            f" between {first} and {last}. Without --dry-run it is done."
        )
    else:
        output.show(f"{done:,} objects came back. Prove it: llmvault drill")
    return 0
