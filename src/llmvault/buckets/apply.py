"""Making a bucket what it is declared to be: one write per difference, each safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmvault.buckets.model import BucketPlan
from llmvault.buckets.plan import RULE
from llmvault.buckets.statements import is_ours
from llmvault.core.errors import RefusedError
from llmvault.objectstore.errors import DeclinedError
from llmvault.objectstore.s3 import Bucket


def apply_plan(bucket: Bucket, plan: BucketPlan) -> Mapping[str, str]:
    """Write what differs; return setting -> why the server would not take it.

    What the server took is not believed; the caller reads it back.

    Raises:
        UnavailableError: when the server cannot be reached; running it again goes on from there.
    """
    refused: dict[str, str] = {}
    for setting in _order(plan):
        try:
            _WRITES[setting](bucket, plan)
        except (RefusedError, DeclinedError) as error:
            refused[setting] = error.cause
    return refused


def _order(plan: BucketPlan) -> list[str]:
    """Return what to write; the policy last, since it takes rights away."""
    wanted = {difference.setting for difference in plan.differences}
    return [setting for setting in _WRITES if setting in wanted]


def _create(bucket: Bucket, plan: BucketPlan) -> None:
    # Some servers can switch the lock on at no later time.
    bucket.create(lock=plan.declared.lock)


def _versioning(bucket: Bucket, plan: BucketPlan) -> None:
    if not (plan.declared.lock and not plan.actual.exists):  # which the lock brings along
        bucket.set_versioning(enabled=True)


def _lock(bucket: Bucket, plan: BucketPlan) -> None:
    if plan.declared.lock_default is not None or not bucket.settings().lock_enabled:
        bucket.set_lock(plan.declared.lock_default)


def _lifecycle(bucket: Bucket, plan: BucketPlan) -> None:
    others = [rule for rule in plan.actual.lifecycle if not rule.id.startswith(RULE)]
    bucket.set_lifecycle((*others, *plan.declared.lifecycle))


def _encryption(bucket: Bucket, plan: BucketPlan) -> None:
    if plan.declared.encryption is not None:
        bucket.set_encryption(plan.declared.encryption)


def _policy(bucket: Bucket, plan: BucketPlan) -> None:
    others = [one for one in plan.actual.statements if not is_ours(one)]
    bucket.set_policy((*others, *plan.declared.statements))


_WRITES: Mapping[str, Callable[[Bucket, BucketPlan], None]] = {
    "bucket": _create,
    "versioning": _versioning,
    "lock": _lock,
    "encryption": _encryption,
    "lifecycle": _lifecycle,
    "policy": _policy,
}
