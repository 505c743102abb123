"""Evidence from beginning to end: observe, state, sign, write; verify; make the page anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from llmvault.catalog.model import DrillEntry, PointEntry, RestoreEntry
from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, UnprovenError
from llmvault.core.files import write_durably
from llmvault.core.secrets import Secret
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.evidence.archive import pack, unpack
from llmvault.evidence.bundle import (
    Content,
    bundle_files,
    proven_entries,
    read_evidence,
    read_statements,
)
from llmvault.evidence.findings import findings
from llmvault.evidence.frameworks import framework, framework_names
from llmvault.evidence.model import Period
from llmvault.evidence.observe import manifest_facts, policy_facts, report_facts
from llmvault.evidence.observed import Observed
from llmvault.evidence.plan import plan_statements
from llmvault.evidence.ports import LedgerView, SignatureCheck, Signer
from llmvault.evidence.report import render
from llmvault.evidence.story import verdict_of
from llmvault.evidence.verify import Verified, verify_bundle
from llmvault.evidence.withhold import masked
from llmvault.ledger.interface import Ledger
from llmvault.policy.loaded import LoadedPolicy
from llmvault.recovery_points.memory import Memory

_SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class EvidencePorts:
    """What making evidence works with.

    Attributes:
        load: reads the policy anew.
        points, drills, restores: everything that the catalog lists.
        reports: the directory of drill reports.
        secrets: name -> secret that must not be in a bundle, as far as they can be read here.
        ledger: where the making of a bundle is recorded.
    """

    clock: Clock
    host: str
    version: str
    load: Callable[[], LoadedPolicy]
    points: Callable[[], Sequence[PointEntry]]
    drills: Callable[[], Sequence[DrillEntry]]
    restores: Callable[[], Sequence[RestoreEntry]]
    memory: Memory
    reports: Path
    view: LedgerView
    signer: Signer
    holds: SignatureCheck
    secrets: Callable[[], Mapping[str, Secret]]
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to make evidence of.

    Attributes:
        frameworks: names; all when empty.
    """

    output: Path
    begin: datetime
    end: datetime | None
    frameworks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written.

    Attributes:
        verdict, reasons: of the newest evidence in it.
        counts: kind -> verdict -> how many statements.
        findings: framework -> satisfied, not satisfied.
    """

    path: Path
    sha256: str
    size: int
    period: Period
    verdict: Verdict
    reasons: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    findings: Mapping[str, tuple[int, int]]
    key: str

    def as_json(self) -> dict[str, Any]:
        """Return the document of ``evidence export --json``."""
        return {
            "bundle": str(self.path),
            "sha256": self.sha256,
            "bytes": self.size,
            "period": {"from": format_time(self.period.begin), "to": format_time(self.period.end)},
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            "statements": {kind: dict(counts) for kind, counts in self.counts.items()},
            "findings": {
                name: {"satisfied": yes, "not_satisfied": no}
                for name, (yes, no) in self.findings.items()
            },
            "key": self.key,
        }


def run_export(ports: EvidencePorts, request: ExportRequest) -> Exported:
    """Write a bundle, whole and verified, or nothing.

    Raises:
        PolicyError: when a framework is unknown.
        UnavailableError: when ledger, catalog or signing key cannot be read.
        UnprovenError: when the policy changed meanwhile.
        RefusedError: when the bundle would hold a secret.
        IntegrityError: when what was made does not verify, as with a ledger that was tampered with.
    """
    frameworks = tuple(framework(name) for name in request.frameworks or framework_names())
    before = ports.load()
    seen = _observe(ports, request, before)
    statements = plan_statements(seen)
    plans = [plan.name for plan in seen.policy.plans]
    found = findings(frameworks, statements, plans, seen.period.end)
    indices = proven_entries(seen.ledger, statements)
    content = Content(
        seen=seen,
        frameworks=frameworks,
        statements=statements,
        findings=found,
        proofs=dict(zip(indices, ports.view.proofs(indices), strict=True)),
        public_pem=ports.signer.public_pem,
    )
    files = bundle_files(content, ports.signer.sign, render)
    _demand_no_secret(files, ports.secrets())
    data = pack(files)
    _demand_holds(verify_bundle(data, ports.signer.public_pem, ports.holds))
    _demand_same_policy(before, seen, ports.load())
    exported = _exported(request, data, read_evidence(files), read_statements(files))
    ports.ledger.append(
        "evidence.exported",
        {"bundle": exported.sha256, "period": exported.as_json()["period"],
         "frameworks": [one.name for one in frameworks], "verdict": exported.verdict.value},
    )  # fmt: skip
    _write(request.output, data)
    return exported


def _observe(ports: EvidencePorts, request: ExportRequest, policy: LoadedPolicy) -> Observed:
    # first, so that a file that changes while the rest is read is noticed
    declared = policy_facts(policy)
    now = ports.clock.now()
    period = Period(request.begin, min(request.end or now, now))
    points, drills, restores = ports.points(), ports.drills(), ports.restores()
    return Observed(
        host=masked(ports.host),
        version=ports.version,
        generated=now,
        period=period,
        ledger=ports.view.part(period),
        points=tuple(points),
        drills=tuple(drills),
        restores=tuple(restores),
        manifests=manifest_facts(ports.memory, points, period),
        reports=report_facts(ports.reports, drills, period),
        policy=declared,
    )


def _demand_same_policy(before: LoadedPolicy, seen: Observed, after: LoadedPolicy) -> None:
    if before.digest != after.digest or policy_facts(after).files != seen.policy.files:
        raise UnprovenError(
            f"policy in {before.directory}",
            "a file of it changed while evidence was made, so none was written",
            "run it again",
        )


def _demand_no_secret(files: Mapping[str, bytes], secrets: Mapping[str, Secret]) -> None:
    """Refuse to write a secret's value; short ones would be found anywhere."""
    for name, secret in secrets.items():
        value = secret.reveal().encode()
        if len(value) < _SHORTEST_SECRET:
            continue
        for file, data in files.items():
            if value in data:
                raise RefusedError(
                    f"{file} in the bundle",
                    f"it would hold the value of the secret {name}",
                    "find which policy value, name or ledger entry repeats the secret",
                )


def _demand_holds(verified: Verified) -> None:
    bad = next((check for check in verified.checks if check.verdict is Verdict.FAILED), None)
    if bad is not None:
        raise IntegrityError(
            "evidence",
            f"what was made does not verify ({bad.name}): {bad.detail}; nothing was written",
            "compare the ledger with its copies, and with bundles that were made before",
        )


def _exported(
    request: ExportRequest,
    data: bytes,
    evidence: Mapping[str, Any],
    statements: Sequence[Mapping[str, Any]],
) -> Exported:
    verdict, reasons = verdict_of(statements)
    found = {one["name"]: [0, 0] for one in evidence["frameworks"]}
    for one in evidence["findings"]:
        found[one["framework"]][one["state"] != "satisfied"] += 1
    counts = evidence["statements"]
    return Exported(
        path=request.output,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        period=Period(*(datetime.fromisoformat(evidence["period"][key]) for key in ("from", "to"))),
        verdict=verdict,
        reasons=reasons,
        counts={kind: counts[kind] for kind in counts if any(counts[kind].values())},
        findings={name: (yes, no) for name, (yes, no) in found.items()},
        key=evidence["key"],
    )


def _write(path: Path, data: bytes) -> None:
    if path.is_dir():
        raise RefusedError(f"{path}", "it is a directory", "name a file: --output FILE.zip")
    try:
        write_durably(path, data)
    except OSError as error:
        raise UnavailableError(
            f"{path}", f"the bundle cannot be written: {error.strerror}", "name another --output"
        ) from error


def run_verify(path: Path, key: Path | None, holds: SignatureCheck) -> Verified:
    """Verify a bundle, with the key in a file or, for what that proves, the one in the bundle.

    Raises:
        UnavailableError: when a file cannot be read.
    """
    pem = None if key is None else _read(key, "public key")
    return verify_bundle(_read(path, "bundle"), pem, holds)


def run_report(path: Path, output: Path) -> Verdict:
    """Make the page of a bundle anew from its statements, and return the verdict it tells.

    Raises:
        UnavailableError: when a file cannot be read or written.
        IntegrityError: when the bundle cannot be read.
    """
    files = unpack(_read(path, "bundle"))
    evidence, statements = read_evidence(files), read_statements(files)
    _write(output, render(evidence, statements).encode("utf-8"))
    return verdict_of(statements)[0]


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"{what} {path}", f"it cannot be read: {error.strerror}", "check the path"
        ) from error
