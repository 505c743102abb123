"""What evidence is made of, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time, both ends included."""

    begin: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return self.begin <= moment <= self.end


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry of the ledger.

    Attributes:
        raw: the bytes that are hashed into the tree.
    """

    index: int
    time: datetime
    kind: str
    facts: Mapping[str, Any]
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LedgerPart:
    """Entries of the ledger that follow one another, and the checkpoint they are proven against.

    Attributes:
        checkpoint: a signed note (C2SP ``tlog-checkpoint``).
        entries: in order, without gaps; empty when nothing was entered in the period.
    """

    checkpoint: bytes
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """What evidence takes from a recovery point's manifest: no path, no prompt, no answer.

    Attributes:
        sha256: of the manifest's bytes.
        sources: per source name, kind, verdict, files, bytes, ``files_sha256``, snapshots.
        checks: per check name, source, verdict.
    """

    sha256: str
    policy_digest: str
    rpo_seconds: float
    sources: tuple[Mapping[str, Any], ...]
    checks: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class DrillFacts:
    """What evidence takes from the report of a drill; `sha256` is that of its JSON document."""

    sha256: str
    host: str
    checks: tuple[Mapping[str, str], ...]
    sources: tuple[Mapping[str, Any], ...]
    engines: Mapping[str, Mapping[str, str]]
    policy_digest: str


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """A backup plan as the policy declares it."""

    name: str
    sources: tuple[str, ...]
    repositories: tuple[str, ...]
    rto_seconds: float
    rpo_seconds: float


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """The policy in force when the evidence was made.

    Attributes:
        digest: of everything that holds, as ``llmvault policy show`` tells it.
        values: the same without free text and personal data.
        files: name relative to the policy directory -> SHA-256 of its bytes.
        valid_for: kind of evidence -> seconds until it goes stale.
    """

    digest: str
    values: Mapping[str, Any]
    files: Mapping[str, str]
    plans: tuple[PlanFacts, ...]
    sources: Mapping[str, str]
    valid_for: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that is stated: what happened, what was established, and what shows it.

    Attributes:
        kind: of ``llmvault.evidence.kinds``.
        run: which run it speaks of, e.g. a recovery point's or a drill's id.
        about: what it was done to: ``plan nightly``, ``repository offsite``.
        subject_sha256: of the manifest, report or ledger entry that it rests on.
        reason: why the verdict is not ``proven``; empty otherwise.
        expires: when it goes stale; None when it does not.
        facts: what was seen, for the kind.
        entries: indices of its ledger entries, in order.
        gaps: what should have been there and was not.
    """

    kind: str
    run: str
    about: str
    subject_sha256: str
    verdict: Verdict
    reason: str
    collected: datetime
    expires: datetime | None
    facts: Mapping[str, Any]
    entries: tuple[int, ...] = ()
    gaps: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return its JSON values, as predicates hold them."""
        return {
            "kind": self.kind,
            "run": self.run,
            "about": self.about,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "collected": format_time(self.collected),
            "expires": format_time(self.expires) if self.expires else None,
            "facts": dict(self.facts),
            "ledger_entries": list(self.entries),
            "gaps": list(self.gaps),
        }


@dataclass(frozen=True, slots=True)
class Control:
    """One demand of a framework.

    Attributes:
        answers: kinds of evidence that answer it.
        wording: ``checked`` when the wording was read at its source, ``not checked`` otherwise.
        source: URL of the text.
    """

    framework: str
    id: str
    demand: str
    answers: tuple[str, ...]
    wording: str
    source: str


@dataclass(frozen=True, slots=True)
class Framework:
    """A law, standard or catalogue, with those of its demands that llmvault has evidence for."""

    name: str
    title: str
    source: str
    controls: tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the evidence says about one control; it never says that anybody complies.

    Attributes:
        reasons: why it is not satisfied; empty otherwise.
        statements: runs that it rests on.
    """

    control: Control
    satisfied: bool
    reasons: tuple[str, ...]
    statements: tuple[tuple[str, str], ...]
