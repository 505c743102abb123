"""Bundles of a fake quarter, and the ports to export one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from llmvault.core.secrets import Secret
from llmvault.evidence.archive import pack
from llmvault.evidence.bundle import Content, bundle_files, proven_entries
from llmvault.evidence.findings import findings
from llmvault.evidence.frameworks import framework
from llmvault.evidence.observed import Observed
from llmvault.evidence.plan import plan_statements
from llmvault.evidence.report import render
from llmvault.evidence.run import EvidencePorts, ExportRequest
from llmvault.policy.load import load_policy
from llmvault.recovery_points.memory import Memory
from tests.fakes.evidence import BEGIN, END, Quarter, holds
from tests.fakes.policy_files import write_policy

FRAMEWORKS = ("dora", "soc2")
POLICY = """
    repositories:
      primary: {url: /srv/repository, password: "env:PASSWORD"}
    sources:
      assistant-0: {kind: model_dir, path: /srv/models}
    plans:
      assistant: {sources: [assistant-0], repositories: [primary]}
"""


def files_of(
    quarter: Quarter, seen: Observed, frameworks: tuple[str, ...] = FRAMEWORKS
) -> dict[str, bytes]:
    """Return the files of a bundle of what was observed."""
    statements = plan_statements(seen)
    chosen = tuple(framework(name) for name in frameworks)
    plans = [plan.name for plan in seen.policy.plans]
    indices = proven_entries(seen.ledger, statements)
    content = Content(
        seen=seen,
        frameworks=chosen,
        statements=statements,
        findings=findings(chosen, statements, plans, seen.period.end),
        proofs=dict(zip(indices, quarter.ledger.proofs(indices), strict=True)),
        public_pem=quarter.signer.public_pem,
    )
    return bundle_files(content, quarter.signer.sign, render)


def small_bundle() -> tuple[Quarter, bytes]:
    """Return nine days of two plans, and their bundle."""
    quarter = Quarter(plans=2, sources=2, days=9, trouble=False)
    return quarter, pack(files_of(quarter, quarter.observed()))


@dataclass
class FixedClock:
    """Always tells the same time."""

    moment: datetime = END

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        del seconds


@dataclass
class Desk:
    """An installation to export evidence from, with a real policy directory and state."""

    place: Path
    quarter: Quarter = field(default_factory=lambda: Quarter(plans=1, sources=1, days=9))
    policy: str = POLICY
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def __post_init__(self) -> None:
        write_policy(self.place / "policies", {"policy.yaml": self.policy})

    @cached_property
    def ports(self) -> EvidencePorts:
        """What the export works with."""
        self.quarter.observed()  # orders the ledger's entries
        return EvidencePorts(
            clock=FixedClock(),
            host="gpu-1",
            version="0.1.0",
            load=lambda: load_policy(self.place / "policies", self.environment),
            points=lambda: self.quarter.points,
            drills=lambda: self.quarter.drills,
            restores=tuple,
            memory=Memory(self.place / "state"),
            reports=self.place / "state" / "reports",
            view=self.quarter.ledger,
            signer=self.quarter.signer,
            holds=holds,
            secrets=lambda: self.secrets,
            ledger=self.quarter.ledger,
        )

    def request(self, **changes: object) -> ExportRequest:
        """Return a request for everything, into a file of the place."""
        asked = ExportRequest(self.place / "evidence.zip", BEGIN, None, ("dora",))
        return replace(asked, **changes)  # type: ignore[arg-type]  # tests name the fields
