"""What a policy says of the object store that a repository lies in, and of the copy it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmvault.policy.fields import Duration, Model, Name, SecretReference

_DAY = timedelta(days=1)
Principal = Annotated[str, Field(pattern=r"^arn:[a-z-]+:(iam|sts):[^\s\"]*$")]


class LockPolicy(Model):
    """Object Lock: versions that nobody can delete before a date."""

    mode: Literal["governance", "compliance"] = Field(
        "compliance", description="compliance: nobody can shorten it, not even the owner"
    )
    period: Duration = Field(
        timedelta(days=30), description="how long an object is locked, from when it is written"
    )
    per_object: bool = Field(
        False,
        description="set by llmvault lock extend on each object, not by the bucket's default",
    )
    extend_before: Duration | None = Field(
        None, description="extend what lapses sooner than this; half of the period if not given"
    )

    @property
    def renewal(self) -> timedelta:
        """How long before it lapses a lock is extended."""
        return self.period / 2 if self.extend_before is None else self.extend_before

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.per_object and self.period % _DAY:
            raise ValueError(
                "a bucket's default lock counts whole days: give a period such as 30d, or set"
                " per_object: true"
            )
        if self.period <= timedelta(0) or self.renewal >= self.period:
            raise ValueError("extend_before must be shorter than the period, or it never rests")
        return self


class LifecyclePolicy(Model):
    """When the store itself removes what is no longer current."""

    old_versions: int | None = Field(
        35, ge=1, description="days after which replaced or hidden versions go; null keeps them"
    )
    uploads: int | None = Field(
        7, ge=1, description="days after which unfinished uploads go; null keeps them"
    )


class KeyPair(Model):
    """A credential of the object store, by reference."""

    access_key: SecretReference = Field(description="its id")
    secret_key: SecretReference = Field(description="its secret")
    principal: Principal | None = Field(
        None, description="how bucket policies name it: arn:aws:iam::ACCOUNT:user/NAME"
    )


class PricePolicy(Model):
    """What reading from the store costs, from its provider's price list."""

    currency: str = Field("USD", min_length=1, max_length=8, description="of the prices")
    requests_per_1000: float = Field(0, ge=0, description="GET, HEAD and LIST requests")
    egress_per_gb: float = Field(0, ge=0, description="per 10^9 bytes that leave the store")
    retrieval_per_gb: float = Field(
        0, ge=0, description="per 10^9 bytes read from a cold storage class"
    )
    retrieval_requests_per_1000: float = Field(
        0, ge=0, description="requests that bring objects back from a cold storage class"
    )
    retrieval_time: Duration = Field(timedelta(0), description="until a cold object can be read")
    source: str = Field("", description="where the prices are from, and of which day")


class ObjectStore(Model):
    """How the bucket must be set up. ``llmvault policy plan`` compares, ``policy apply`` closes."""

    versioning: bool = Field(True, description="keep what is replaced or deleted")
    lock: LockPolicy | None = Field(None, description="Object Lock; none if not given")
    lifecycle: LifecyclePolicy = Field(
        default_factory=LifecyclePolicy, description="what the store removes by itself"
    )
    encryption: Literal["AES256", "aws:kms"] | None = Field(
        None, description="the store's own encryption, beside restic's; not looked at if not given"
    )
    tls_only: bool = Field(True, description="refuse requests that do not come through TLS")
    region: str = Field("", description="if the address does not say it")
    backup_principal: Principal | None = Field(
        None,
        description="whom the repository's own keys (environment) belong to; may then only append",
    )
    maintenance: KeyPair | None = Field(
        None, description="sets the bucket up, prunes, extends locks; kept away from backup hosts"
    )
    read_only: KeyPair | None = Field(None, description="verifies and restores")
    storage_class: str | None = Field(
        None, pattern=r"^[A-Z0-9_]+$", description="of data packs, for restic; STANDARD if not set"
    )
    prices: PricePolicy | None = Field(None, description="for estimates before drills and restores")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lock is not None and not self.versioning:
            raise ValueError("a lock needs versions: leave versioning on, or take lock away")
        return self


class Place(Model):
    """Where a copy is; what a fire, a thief or a locked account would take at once."""

    site: Name | None = Field(None, description="building or region")
    account: Name | None = Field(None, description="whose account or administration")
    media: Name | None = Field(None, description="what it is kept on: disk, object-store, tape")
    offline: bool = Field(False, description="cannot be reached from the network")


class VerificationPolicy(Model):
    """How every pack is read back, a part at a time."""

    within: Duration = Field(
        timedelta(days=30), description="every pack is read back within this time"
    )
    parts: int = Field(30, ge=1, le=256, description="runs that read it all once")
