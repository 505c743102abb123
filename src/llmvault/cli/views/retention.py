"""Retention plans and what came of them, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmvault.access.model import Request
from llmvault.cli.output import Output
from llmvault.cli.views.checks import show_verdict
from llmvault.core.units import format_size, format_time
from llmvault.core.verdict import Verdict
from llmvault.retention.account import Account
from llmvault.retention.model import (
    CopyDecision,
    Decision,
    RepositoryPlan,
    RetentionPlan,
    gone_words,
    keep_words,
    rules_words,
)
from llmvault.retention.run import ApplyResult
from llmvault.retention.scheduled import ScheduledRun

_SHOWN = 60
ESTIMATE = "the bytes that a recovery point added when it was taken; what others use too stays"


def plan_document(plan: RetentionPlan, asked: Request | None) -> dict[str, Any]:
    """Return a plan as a document: the plan itself, its digest, and what it would free."""
    return {
        "digest": plan.digest,
        "plan": plan.document,
        "deletes": len(plan.going),
        "keeps": sum(
            decision.keep
            for kept in plan.classes
            for repository in kept.repositories
            for decision in (*repository.decisions, *repository.copies)
        ),
        "bytes_freed_estimate": sum(decision.point.bytes_added for _, _, decision in plan.going),
        "estimate_basis": ESTIMATE,
        "requested": asked is not None,
        "findings": list(plan.findings),
    }


def show_plan(
    output: Output, plan: RetentionPlan, asked: Request | None, *, everything: bool
) -> None:
    """Show a plan for people."""
    for kept in plan.classes:
        output.show(
            f"class {kept.rules.name}: keeps {rules_words(kept.rules)}",
            f"  {kept.rules.basis}",
            f"  of copies of the installation: {', '.join(keep_words(kept.rules.copies))}",
        )
        for repository in kept.repositories:
            _show_repository(output, repository, everything=everything)
    for finding in plan.findings:
        output.show(f"finding: {finding}")
    going = plan.going
    if not going:
        output.show("Nothing goes.")
        return
    freed = format_size(sum(decision.point.bytes_added for _, _, decision in going))
    output.show(f"{len(going)} go, about {freed} ({ESTIMATE}).", f"digest {plan.digest}")
    if asked is None:
        output.show("To have it approved: llmvault retention plan --request")
    else:
        output.show(
            f"Asked for. Others approve it with: llmvault approve {plan.digest}",
            f"Then: llmvault retention apply {plan.digest}",
        )


def _show_repository(output: Output, repository: RepositoryPlan, *, everything: bool) -> None:
    staying = [decision for decision in repository.decisions if decision.keep]
    hidden = 0 if everything else max(0, len(staying) - _SHOWN)
    shown = set(map(id, staying[hidden:]))
    output.show_table(
        f"Repository {repository.name}",
        ("recovery point", "plan", "taken", "known as", "", "why", "added", "can be gone"),
        [
            _row(one, repository.stays_days)
            for one in repository.decisions
            if not one.keep or id(one) in shown
        ],
    )
    if repository.copies:
        output.show_table(
            f"Copies of the installation in {repository.name}",
            ("snapshot", "of", "entries", "taken", "", "why", "added", "can be gone"),
            [_copy_row(one, repository.stays_days) for one in repository.copies],
        )
    for line in _remarks(repository, hidden):
        output.show(line)


def _remarks(repository: RepositoryPlan, hidden: int) -> Iterator[str]:
    if hidden:
        yield f"{hidden} older ones stay, too; --all shows them"
    if repository.foreign:
        yield f"{repository.foreign} snapshots are not llmvault's and are left alone"
    yield f"lock dates: {repository.locks_basis}"
    if repository.stays_days:
        yield f"old versions stay in the storage for {repository.stays_days} days"


def _row(decision: Decision, stays_days: int | None) -> tuple[object, ...]:
    point = decision.point
    return (
        point.id,
        point.plan,
        format_time(point.time),
        point.rank.words,
        "stays" if decision.keep else "goes",
        decision.why,
        format_size(point.bytes_added),
        "" if decision.keep else gone_words(decision, stays_days),
    )


def _copy_row(decision: CopyDecision, stays_days: int | None) -> tuple[object, ...]:
    point = decision.point
    return (
        point.id,
        f"{decision.origin} on {point.host}",
        decision.entries,
        format_time(point.time),
        "stays" if decision.keep else "goes",
        decision.why,
        format_size(point.bytes_added),
        "" if decision.keep else gone_words(decision, stays_days),
    )


def apply_document(result: ApplyResult) -> dict[str, Any]:
    """Return what came of a plan as a document."""
    return {
        "digest": result.digest,
        "verdict": result.verdict.value,
        "resumed": result.resumed,
        "approved_by": list(result.approved_by),
        "deleted": [
            {
                "recovery_point": one.recovery_point,
                "repository": one.repository,
                "class": one.retention_class,
                "why": one.why,
                "gone_not_before": one.gone or None,
            }
            for one in result.deleted
        ],
        "left": [
            {"recovery_point": one.recovery_point, "repository": one.repository, "why": one.why}
            for one in result.left
        ],
        "bytes_freed": dict(result.freed),
    }


def show_apply(output: Output, result: ApplyResult) -> None:
    """Show what came of a plan for people."""
    output.show_table(
        "Deleted",
        ("recovery point", "repository", "why"),
        [(one.recovery_point, one.repository, one.why) for one in result.deleted],
    )
    if result.left:
        output.show_table(
            "Could not be deleted",
            ("recovery point", "repository", "why"),
            [(one.recovery_point, one.repository, one.why) for one in result.left],
        )
    for name, freed in result.freed.items():
        told = "restic did not say how much" if freed is None else format_size(freed)
        output.show(f"freed in {name}: {told}")
    show_verdict(
        output,
        result.verdict,
        f"{len(result.deleted)} deleted, {len(result.left)} left; "
        f"approved by {', '.join(result.approved_by) or 'nobody'}",
    )


def show_class(output: Output, account: Account) -> None:
    """Show what a class answers, for people."""
    rules = account.planned.rules
    output.show(f"class {rules.name}", f"kept: {rules_words(rules)}", f"basis: {rules.basis}")
    for repository in account.planned.repositories:
        stays = sum(decision.keep for decision in repository.decisions)
        output.show(
            f"repository {repository.name}: {stays} stay, {len(repository.going)} would go; "
            f"lock dates: {repository.locks_basis}"
        )
    output.show_table(
        "Deleted",
        ("when", "recovery point", "repository", "taken", "why", "approved by"),
        [
            (
                format_time(one.deleted),
                one.recovery_point,
                one.repository,
                format_time(one.taken),
                one.why,
                ", ".join(one.approved_by),
            )
            for one in account.deletions
        ],
    )
    output.show_table(
        "Could not be deleted",
        ("recovery point", "repository", "why", "until"),
        [
            (
                point,
                repository,
                why,
                until or "nobody can say",
            )
            for point, repository, why, until in account.remaining()
        ],
    )


def scheduled_document(done: ScheduledRun) -> dict[str, Any]:
    """Return a run by the clock as a document."""
    return {
        "verdict": done.verdict.value,
        "applied": [apply_document(result) for result in done.applied],
        "refused": [{"digest": digest, "reason": reason} for digest, reason in done.refused],
        "classes": [
            {
                "name": one.name,
                "verdict": one.verdict.value,
                "going": one.going,
                "waits_for_approval": one.digest or None,
                "detail": one.detail,
            }
            for one in done.classes
        ],
    }


def show_scheduled(output: Output, done: ScheduledRun) -> None:
    """Show a run by the clock for people; the last line tells what is to be done."""
    for result in done.applied:
        show_apply(output, result)
    for digest, reason in done.refused:
        output.show(f"plan {digest[:12]} was approved and not applied: {reason}")
    told = [one.detail for one in done.classes if one.verdict is not Verdict.PROVEN]
    words = "; ".join(told) or "nothing waits for approval"
    show_verdict(output, done.verdict, f"{done.verdict.value.capitalize()}: {words}.")
