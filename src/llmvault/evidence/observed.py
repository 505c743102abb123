"""Everything that evidence is made from, as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from llmvault.catalog.model import DrillEntry, PointEntry, RestoreEntry
from llmvault.evidence.model import DrillFacts, LedgerPart, ManifestFacts, Period, PolicyFacts


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that evidence is made from, as it was read."""

    host: str
    version: str
    generated: datetime
    period: Period
    ledger: LedgerPart
    points: tuple[PointEntry, ...]
    drills: tuple[DrillEntry, ...]
    restores: tuple[RestoreEntry, ...]
    manifests: Mapping[str, ManifestFacts]
    reports: Mapping[str, DrillFacts]
    policy: PolicyFacts
