"""What a policy says of the ledger: where its checkpoints are kept outside."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from llmvault.policy.fields import Duration, LocalPath, Model, Name
from llmvault.policy.retention import SpanField


class DirectoryWitness(Model):
    """A directory that others control too: a share of another host, a write-once disk."""

    kind: Literal["directory"] = Field(description="a directory elsewhere")
    path: LocalPath = Field(description="where checkpoints are put, one file each")


class CommandWitness(Model):
    """Commands that carry checkpoints to a witness and back."""

    kind: Literal["command"] = Field(description="commands of your own")
    publish: tuple[str, ...] = Field(
        min_length=1, description="argv that reads one checkpoint from standard input"
    )
    fetch: tuple[str, ...] = Field(
        min_length=1, description="argv that prints the newest checkpoint it was given"
    )
    timeout: Duration = Field(timedelta(seconds=30), description="for either of them")


Witness = Annotated[DirectoryWitness | CommandWitness, Field(discriminator="kind")]


class TimeStamps(Model):
    """A time stamp authority (RFC 3161), which states that a checkpoint was there by a time."""

    url: str = Field(
        pattern=r"^https?://[^\s@]+$", description="where it is asked; it sees a digest, no more"
    )
    certificates: LocalPath = Field(
        description="PEM file: its root certificate, and those between the root and the signer"
    )
    every: Duration = Field(
        timedelta(days=1), description="how old the newest stamp gets before another is asked for"
    )
    timeout: Duration = Field(timedelta(seconds=10), description="for its answer")


class PrunePolicy(Model):
    """How long entries are kept; without it none is ever removed."""

    keep: SpanField = Field(description="at least so long, e.g. 7y; older ones may be pruned")
    basis: str = Field(min_length=1, description="the law or policy that says so, in words")
    approval: Name = Field("retention", description="who must approve, of the section approvals")


class LedgerPolicy(Model):
    """The record of what llmvault did."""

    witnesses: dict[Name, Witness] = Field(
        default_factory=dict, description="where checkpoints are kept outside, by name"
    )
    time_stamps: TimeStamps | None = Field(
        None, description="who stamps checkpoints with the time; a stamp not had is asked for again"
    )
    prune: PrunePolicy | None = Field(
        None, description="when old entries may go; their hashes stay, and every proof with them"
    )
