"""Buckets declared and set up without policies and command lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmvault.buckets.model import BucketPlan, Declared
from llmvault.buckets.plan import declared_buckets
from llmvault.buckets.run import BucketPorts, apply_buckets, key_of, plan_buckets
from llmvault.core.clock import Clock
from llmvault.core.ids import RandomIds
from llmvault.core.verdict import Check
from llmvault.policy.model import Repository
from tests.fakes.ledger import MemoryLedger
from tests.stores import Store


def repository(url: str, **store: object) -> Repository:
    """Return a repository that declares its object store."""
    return Repository.model_validate(
        {"url": url, "password": "env:P", "object_store": {"tls_only": False, **store}}
    )


COMPLIANCE = {"mode": "compliance", "period": "2d"}


@dataclass
class Site:
    """One bucket of a server, as a policy declares it."""

    store: Store
    declared: Declared
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    clock: Clock | None = None

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.declared.location.bucket

    @property
    def ports(self) -> BucketPorts:
        """What comparing and setting up works with."""
        bucket = self.store.bucket(self.name, clock=self.clock)
        return BucketPorts({key_of(self.declared): (self.declared, lambda: bucket)}, self.ledger)

    def plan(self) -> BucketPlan:
        """Compare."""
        (plan,) = plan_buckets(self.ports)
        return plan

    def differing(self) -> list[str]:
        """Return the settings that differ."""
        return [difference.setting for difference in self.plan().differences]

    def apply(self) -> dict[str, Check]:
        """Make it as declared; return the check of each setting."""
        return {check.name: check for check in apply_buckets(self.ports, [self.plan()])}


def site(store: Store, *, prefix: str = "standard", name: str = "", **settings: object) -> Site:
    """Declare a bucket on a server; nothing is created."""
    bucket = name or f"llmvault-{RandomIds().token()}"
    url = f"s3:{store.endpoint}/{bucket}/{prefix}".rstrip("/")
    (declared,) = declared_buckets({"primary": repository(url, **settings)})
    return Site(store, declared)
