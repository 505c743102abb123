"""Buckets: compare with the policy, and make them as declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from llmvault.buckets.apply import apply_plan
from llmvault.buckets.model import BucketPlan, Declared, Difference
from llmvault.buckets.plan import plan_bucket
from llmvault.core.errors import IntegrityError, RefusedError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.ledger.interface import Ledger
from llmvault.objectstore.clocks import refuse_skew
from llmvault.objectstore.s3 import Bucket


@dataclass(frozen=True, slots=True)
class BucketPorts:
    """What comparing and setting up works with.

    Attributes:
        buckets: every declared bucket, opened with the credential that may set it up; opening may
            fail on a secret.
    """

    buckets: Mapping[str, tuple[Declared, Callable[[], Bucket]]]
    ledger: Ledger


def plan_buckets(ports: BucketPorts) -> tuple[BucketPlan, ...]:
    """Return how every bucket differs from what it is declared to be.

    Raises:
        VaultError: when one cannot be looked at.
    """
    return tuple(plan_bucket(one, open_().settings()) for one, open_ in ports.buckets.values())


def apply_buckets(ports: BucketPorts, plans: Iterable[BucketPlan]) -> tuple[Check, ...]:
    """Close every difference of the plans and read each setting back.

    Raises:
        RefusedError: when a bucket changed since it was planned, or the clocks differ.
        UnavailableError: when a server cannot be reached; running it again goes on from there.
    """
    checks: list[Check] = []
    for plan in plans:
        checks.extend(_apply(ports, plan))
    return tuple(checks)


def _apply(ports: BucketPorts, plan: BucketPlan) -> Iterator[Check]:
    name = plan.declared.location.bucket
    if not plan.differences:
        yield Check("as-declared", name, Verdict.PROVEN, "nothing differs")
        return
    bucket = ports.buckets[key_of(plan.declared)][1]()
    refuse_skew(str(bucket), plan.actual.clock_skew_s)
    if plan_bucket(plan.declared, bucket.settings()).digest != plan.digest:
        raise RefusedError(
            str(bucket), "it changed since the plan was made", "llmvault policy plan"
        )
    facts = {
        "bucket": name,
        "endpoint": plan.declared.location.endpoint,
        "plan": plan.digest,
        "settings": [difference.setting for difference in plan.differences],
    }
    ports.ledger.append("bucket.changing", facts)
    left: dict[str, str] = {"": "it was not finished"}
    try:
        refused = apply_plan(bucket, plan)
        after = plan_bucket(plan.declared, bucket.settings())
        left = {one.setting: _why(one, refused) for one in after.differences}
    finally:
        ports.ledger.append("bucket.changed", {**facts, "left": left})
    for difference in plan.differences:
        reason = left.pop(difference.setting, "")
        verdict = Verdict.FAILED if reason else Verdict.PROVEN
        detail = reason or f"was {difference.actual}; read back: {difference.declared}"
        yield Check(difference.setting, name, verdict, detail)
    for setting, reason in left.items():
        yield Check(setting, name, Verdict.FAILED, reason)


def _why(difference: Difference, refused: Mapping[str, str]) -> str:
    if difference.setting in refused:
        step = "; create a new bucket for it" if difference.setting == "lock" else ""
        return f"the server would not take it: {refused[difference.setting]}{step}"
    return (
        f"the server accepted it and did not keep it: read back, {difference}. Such a server"
        " cannot hold what the policy demands"
    )


def check_buckets(ports: BucketPorts) -> Iterator[Check]:
    """Yield for each bucket whether it is as declared; drift is a failure."""
    for one, open_ in ports.buckets.values():
        yield _check(one, open_)


def _check(declared: Declared, open_: Callable[[], Bucket]) -> Check:
    name = declared.location.bucket
    try:
        plan = plan_bucket(declared, open_().settings())
        refuse_skew(f'bucket "{name}"', plan.actual.clock_skew_s)
    except VaultError as error:
        bad = isinstance(error, IntegrityError | RefusedError)
        verdict = Verdict.FAILED if bad else Verdict.UNPROVEN
        return Check("as-declared", name, verdict, f"{error.thing}: {error.cause}")
    unknown = "; ".join(f"{what}: {why}" for what, why in plan.actual.unknown.items())
    if plan.differences:
        return Check("as-declared", name, Verdict.FAILED, "; ".join(map(str, plan.differences)))
    detail = "versions, lock, lifecycle, encryption and policy are as declared"
    return Check(
        "as-declared", name, Verdict.PROVEN, f"{detail} ({unknown})" if unknown else detail
    )


def key_of(declared: Declared) -> str:
    """Return what names a bucket among those of a policy."""
    return f"{declared.location.endpoint}/{declared.location.bucket}"
