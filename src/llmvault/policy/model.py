"""What a policy says, as frozen pydantic models: the only schema of the policy files.

A policy directory holds one or more ``*.yaml`` files; together they are one :class:`Policy`.
Relative paths are resolved against the directory of the file that names them, before validation.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from llmvault.policy.access import ApprovalRule, Person
from llmvault.policy.engines import Engine
from llmvault.policy.evidence import Evidence
from llmvault.policy.fields import (
    Duration,
    LocalPath,
    Model,
    Name,
    SecretReference,
    is_local_url,
    usable_path,
)
from llmvault.policy.jobs import CronText, Job, Window
from llmvault.policy.ledger import LedgerPolicy
from llmvault.policy.metrics import MetricsPolicy
from llmvault.policy.notify import Target, TellingPolicy
from llmvault.policy.object_store import ObjectStore, Place, VerificationPolicy
from llmvault.policy.quiesce import Quiesce
from llmvault.policy.retention import RetentionClass
from llmvault.policy.sources import Snapshot, Source


class Repository(Model):
    """An encrypted restic repository."""

    url: Annotated[str, AfterValidator(usable_path)] = Field(
        description="a local path, or anything restic speaks: s3:…, rest:…, sftp:…"
    )
    password: SecretReference = Field(description="by reference: env:, file:, cmd: or credential:")
    retention_class: Name = Field("standard", description="one repository per retention class")
    pack_size_mib: int = Field(64, ge=4, le=128, description="target size of pack files in MiB")
    large_files: Literal["fast", "restic"] = Field(
        "fast",
        description="who writes large files that do not compress into a local repository:"
        " llmvault, in restic's own format, or restic itself",
    )
    environment: dict[str, SecretReference] = Field(
        default_factory=dict, description="variables for the storage backend, by reference"
    )
    connections: int | None = Field(
        None, ge=1, le=64, description="parallel connections; restic's default"
    )
    patience: Duration = Field(
        timedelta(minutes=15),
        description="opening or listing may take so long; then it counts as unreachable",
    )
    object_store: ObjectStore | None = Field(
        None, description="how the bucket is set up, for s3: repositories"
    )
    place: Place = Field(default_factory=Place, description="where this copy is")
    copy_of: Name | None = Field(
        None, description="filled by llmvault copies make from this repository, not by backups"
    )
    verification: VerificationPolicy = Field(
        default_factory=VerificationPolicy, description="how every pack is read back"
    )

    @model_validator(mode="after")
    def _store_fits(self) -> Self:
        if self.object_store is None:
            return self
        if not self.url.startswith("s3:"):
            raise ValueError("object_store is for repositories with an s3: address")
        if self.object_store.tls_only and self.url.startswith("s3:http://"):
            raise ValueError(
                "tls_only would lock everybody out, the address is http://; use https:// or set"
                " tls_only: false"
            )
        return self

    @property
    def local_path(self) -> Path | None:
        """The directory it is in, or None when it is reached through a restic backend."""
        return Path(self.url.removeprefix("local:")) if is_local_url(self.url) else None


class CompletionGolden(Model):
    """Prompts answered greedily; token ids are compared."""

    kind: Literal["completion"] = Field(description="prompts and their answers")
    engine: Name = Field(description="the engine that answers")
    prompts: tuple[str, ...] = Field((), description="what is asked")
    prompts_file: LocalPath | None = Field(None, description="one prompt per line, beside prompts")
    max_tokens: int = Field(32, ge=1, le=4096, description="length of an answer at most")
    min_agreement: float = Field(
        0.9, ge=0, le=1, description="share of equal tokens demanded on another engine or device"
    )


class EmbeddingGolden(Model):
    """Texts embedded; vectors are compared by cosine."""

    kind: Literal["embedding"] = Field(description="texts and their vectors")
    engine: Name = Field(description="the engine that embeds")
    texts: tuple[str, ...] = Field((), description="what is embedded")
    texts_file: LocalPath | None = Field(None, description="one text per line, beside texts")
    min_cosine: float = Field(
        0.999, ge=-1, le=1, description="similarity demanded of each vector and the recorded one"
    )


class NeighboursGolden(Model):
    """Queries answered by a vector store; neighbours are compared by recall@k."""

    kind: Literal["neighbours"] = Field(description="queries and what a vector store finds")
    source: Name = Field(description="a source that can be searched")
    collection: str = Field(description="collection, or table.column")
    engine: Name = Field(description="embeds the queries when they are recorded")
    queries: tuple[str, ...] = Field((), description="what is searched for")
    queries_file: LocalPath | None = Field(None, description="one query per line, beside queries")
    k: int = Field(10, ge=1, le=1000, description="neighbours per query")
    min_recall: float = Field(
        0.99, ge=0, le=1, description="share of the recorded neighbours that must be found again"
    )


Golden = Annotated[
    CompletionGolden | EmbeddingGolden | NeighboursGolden,
    Field(discriminator="kind"),
]


class Objectives(Model):
    """What a plan promises."""

    rto: Duration = Field(timedelta(hours=4), description="restored and answering within")
    rpo: Duration = Field(timedelta(hours=24), description="at most this much is lost")


class DrillPolicy(Model):
    """How a plan is drilled."""

    engines: tuple[Name, ...] = Field((), description="engines that must start and answer")
    goldens: tuple[Name, ...] = Field((), description="goldens that are replayed")
    record_at_backup: bool = Field(
        True, description="record goldens when the recovery point is made"
    )
    scratch_free_factor: float = Field(
        1.2, ge=1, description="free scratch space demanded, as a multiple of the bytes to restore"
    )


class Plan(Model):
    """What is backed up together, where to, and what is promised."""

    sources: tuple[Name, ...] = Field(
        min_length=1, description="sources that are captured together as one recovery point"
    )
    repositories: tuple[Name, ...] = Field(
        min_length=1, description="repositories that each get a copy"
    )
    schedule: CronText | None = Field(
        None, description="cron expression, UTC; short for a job of kind backup"
    )
    live: Place = Field(
        default_factory=Place, description="where the sources themselves are, as one of the copies"
    )
    snapshot: Snapshot = Field(
        "none",
        description="read the files of its sources from filesystem snapshots, taken together: auto "
        "(where there can be one), zfs, btrfs, lvm, or none",
    )
    objectives: Objectives = Field(
        default_factory=Objectives, description="what the plan promises; drills measure it"
    )
    max_window: Duration | None = Field(
        None,
        description="time within which all sources must be captured; beyond it the recovery point "
        "is unproven",
    )
    quiesce: tuple[Quiesce, ...] = Field(
        (), description="writers that are held still while the sources are captured"
    )
    drill: DrillPolicy = Field(
        default_factory=DrillPolicy, description="what a drill starts and asks"
    )


class Policy(Model):
    """Everything that is declared, by name."""

    version: Literal[1] = Field(1, description="version of this format")
    repositories: dict[Name, Repository] = Field(
        default_factory=dict, description="where backups are kept"
    )
    sources: dict[Name, Source] = Field(default_factory=dict, description="what is protected")
    engines: dict[Name, Engine] = Field(
        default_factory=dict, description="what makes a restored model answer"
    )
    goldens: dict[Name, Golden] = Field(
        default_factory=dict, description="questions whose recorded answers a drill must get again"
    )
    ledger: LedgerPolicy = Field(
        default_factory=LedgerPolicy, description="the record of what llmvault did"
    )
    plans: dict[Name, Plan] = Field(
        default_factory=dict, description="what is backed up together, where to, what is promised"
    )
    evidence: Evidence = Field(
        default_factory=Evidence, description="when evidence for auditors goes stale"
    )
    retention: dict[Name, RetentionClass] = Field(
        default_factory=dict, description="how long recovery points are kept, by retention class"
    )
    people: dict[Name, Person] = Field(
        default_factory=dict, description="who may ask for things or approve them"
    )
    approvals: dict[Name, ApprovalRule] = Field(
        default_factory=dict, description="who must approve what before it is done"
    )
    windows: dict[Name, Window] = Field(
        default_factory=dict, description="times of day that jobs keep to, or keep out of"
    )
    jobs: dict[Name, Job] = Field(default_factory=dict, description="what is done by the clock")
    metrics: MetricsPolicy = Field(
        default_factory=MetricsPolicy, description="where metrics for Prometheus go"
    )
    notify: dict[Name, Target] = Field(default_factory=dict, description="who is told")
    telling: TellingPolicy = Field(
        default_factory=TellingPolicy, description="how severe what is told is"
    )
