"""Making locks longer, in batches; a run that is killed goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from llmvault.core.errors import IntegrityError
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import Extension, Lock, LockPlan
from llmvault.locks.plan import batches
from llmvault.objectstore.model import Retention
from llmvault.objectstore.s3 import CONNECTIONS, Bucket

BATCH = 500


def extend_locks(
    bucket: Bucket, plan: LockPlan, inventory: Inventory, on_done: Callable[[int], None]
) -> int:
    """Extend what the plan says; return how many locks were extended.

    After each batch one lock is read back, and the batch is remembered.

    Raises:
        IntegrityError: when a server accepted a lock and did not keep it.
        VaultError: when the server cannot be reached or refuses; running it again goes on.
    """
    done = 0
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for batch in batches(plan.extend, BATCH):

            def retain(one: Extension) -> None:
                key, lock = bucket.location.key(one.name), Retention(plan.mode, one.until)
                bucket.retain(key, one.version, lock)

            list(pool.map(retain, batch))
            _read_back(bucket, batch[-1])
            inventory.add({one.name: Lock(one.version, plan.mode, one.until) for one in batch})
            done += len(batch)
            on_done(done)
    return done


def _read_back(bucket: Bucket, one: Extension) -> None:
    kept = bucket.head(bucket.location.key(one.name), one.version).retention
    if kept is None or kept.until < one.until:
        shown = f"until {kept.until:%Y-%m-%d %H:%M}" if kept else "no lock"
        raise IntegrityError(
            str(bucket),
            f"it accepted a lock until {one.until:%Y-%m-%d %H:%M} and did not keep it: {shown}",
            "such a server cannot hold what the policy demands; use another object store",
        )
