"""Extends the locks of every object of a bucket; run as a program, so that it can be killed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from llmvault.core.clock import SystemClock
from llmvault.core.secrets import Secret
from llmvault.locks import apply
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import LockPlan, Objects, Terms
from llmvault.locks.observe import ask_locks
from llmvault.locks.plan import plan_extension, unknown
from llmvault.objectstore.model import Location, LockMode
from llmvault.objectstore.s3 import Bucket, Credential

TERMS = Terms(LockMode.COMPLIANCE, 30 * 86_400.0, 10 * 86_400.0)


def open_bucket(endpoint: str, name: str) -> Bucket:
    """Return the bucket."""
    keys = Credential("tests", Secret("tests"), Secret("tests"))
    return Bucket(Location(endpoint, name), keys, SystemClock(), attempts=2)


def plan_of(bucket: Bucket, inventory: Inventory) -> LockPlan:
    """Look at the bucket and plan."""
    listed = {one.key: one.id for one in bucket.versions("") if one.latest and not one.marker}
    objects, known = Objects(listed, (), 0), inventory.locks()
    asked = ask_locks(bucket, objects, unknown(objects, known))
    inventory.add(asked)
    return plan_extension(objects, known | asked, TERMS, datetime.now(UTC))


def main(endpoint: str, name: str, directory: str) -> None:
    """Extend in small batches."""
    bucket, inventory = open_bucket(endpoint, name), Inventory(Path(directory), "0" * 64)
    plan = plan_of(bucket, inventory)
    print(apply.extend_locks(bucket, plan, inventory, lambda _: None))


if __name__ == "__main__":
    apply.BATCH = 20
    main(*sys.argv[1:])
