"""Buckets: what differs from the policy, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from llmvault.buckets.model import BucketPlan
from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, show_checks, show_verdict
from llmvault.core.verdict import Check, Verdict, combine


def show_bucket_plans(output: Output, plans: Sequence[BucketPlan]) -> int:
    """Show declared against actual; return the exit code."""
    verdict = Verdict.FAILED if any(plan.differences for plan in plans) else Verdict.PROVEN
    output.emit_json({"verdict": verdict.value, "buckets": [_plan_json(plan) for plan in plans]})
    if not plans:
        output.show("No repository declares its object_store; nothing is compared.")
        return 0
    rows = [
        (plan.declared.location.bucket, one.setting, one.declared, one.actual)
        for plan in plans
        for one in plan.differences
    ]
    if rows:
        output.show_table("Differences", ("bucket", "setting", "declared", "actual"), rows)
        output.show("llmvault policy apply makes them as declared.")
    else:
        show_verdict(output, verdict, f"{len(plans)} buckets are as declared.")
    return verdict.exit_code


def _plan_json(plan: BucketPlan) -> dict[str, object]:
    where = plan.declared.location
    return {
        "bucket": where.bucket,
        "endpoint": where.endpoint,
        "repositories": list(plan.declared.repositories),
        "plan": plan.digest,
        "differences": [
            {"setting": one.setting, "declared": one.declared, "actual": one.actual}
            for one in plan.differences
        ],
        "unknown": dict(plan.actual.unknown),
    }


def show_applied(output: Output, checks: Sequence[Check]) -> int:
    """Show which settings were made and read back; return the exit code."""
    verdict = combine(check.verdict for check in checks) if checks else Verdict.PROVEN
    output.emit_json({"verdict": verdict.value, "checks": [check_json(one) for one in checks]})
    if checks:
        show_checks(output, checks)
    else:
        output.show("No repository declares its object_store; nothing was changed.")
    return verdict.exit_code
