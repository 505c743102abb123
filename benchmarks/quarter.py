"""A quarter of fifty sources as a state directory holds it: manifests, reports, ledger, catalog."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from llmvault.catalog.model import DrillEntry
from llmvault.catalog.session import open_catalog
from llmvault.core.canonical import digest
from llmvault.core.files import private_directory, write_durably
from llmvault.core.verdict import Verdict
from llmvault.keys.note import sign_note
from llmvault.keys.store import KeyFiles
from llmvault.ledger.checkpoint import head_text
from llmvault.ledger.entries import entry_bytes
from llmvault.ledger.files import CHECKPOINT
from llmvault.ledger.growth import Growth, grow
from llmvault.ledger.model import Head
from llmvault.recovery_points.find import entry_of
from llmvault.recovery_points.manifest import encode
from llmvault.recovery_points.model import Manifest, SourceRecord
from llmvault.sources.interface import Observation

PLANS, SOURCES_OF_EACH, DAYS = 10, 5, 90


def write_quarter(policies: Path, state: Path, password: Path) -> int:
    """Write policy and state; return how many entries the ledger has."""
    policies.mkdir()
    (policies / "policy.yaml").write_text(_policy(password))
    lines: list[bytes] = []
    database = f"sqlite:///{state / 'catalog.sqlite'}"
    private_directory(state / "recovery-points")
    private_directory(state / "reports")
    catalog = open_catalog(database)
    begin = datetime.now(UTC) - timedelta(days=DAYS, hours=1)
    for day in range(DAYS):
        for plan in range(PLANS):
            at = begin + timedelta(days=day + 1, minutes=plan) - timedelta(hours=20)
            point = _back_up(state, at, plan, lines)
            catalog.add_point(entry_of(point))
            if day % 7 == plan % 7:
                catalog.add_drill(_drill(state, at + timedelta(hours=1), plan, point.id, lines))
    catalog.close()
    _write_ledger(state, lines)
    return len(lines)


def _write_ledger(state: Path, entries: list[bytes]) -> None:
    """Write a ledger of entries with times of their own, as the writer would have left it."""
    key = KeyFiles(state / "keys").make("bench/llmvault/quarter")
    whole = grow(Growth(0), entries)
    for path, data in whole.written.items():
        write_durably(state / "ledger" / path, data)
    head = Head(key.name, whole.size, whole.root())
    write_durably(state / "ledger" / CHECKPOINT, sign_note(head_text(head), [key]).encode())


def _policy(password: Path) -> str:
    sources = [f"s{plan}-{n}" for plan in range(PLANS) for n in range(SOURCES_OF_EACH)]
    plans = {
        f"p{plan}": {
            "sources": [f"s{plan}-{n}" for n in range(SOURCES_OF_EACH)],
            "repositories": ["bench"],
        }
        for plan in range(PLANS)
    }
    return json.dumps(
        {
            "repositories": {"bench": {"url": "/nowhere", "password": f"file:{password}"}},
            "sources": {name: {"kind": "configs", "path": f"/srv/{name}"} for name in sources},
            "plans": plans,
        }
    )


def _enter(lines: list[bytes], at: datetime, kind: str, facts: dict[str, str]) -> None:
    lines.append(entry_bytes(kind, facts, at=at, host="bench"))


def _back_up(state: Path, at: datetime, plan: int, lines: list[bytes]) -> Manifest:
    name = f"rp-{at:%Y%m%dT%H%M%SZ}-{plan:06x}"
    done = at + timedelta(minutes=5)
    facts = {"recovery_point": name, "plan": f"p{plan}"}
    _enter(lines, at, "backup.started", facts)
    _enter(lines, done, "backup.finished", {**facts, "verdict": "proven"})
    manifest = Manifest(
        id=name,
        plan=f"p{plan}",
        host="bench",
        started=at,
        finished=done,
        verdict=Verdict.PROVEN,
        versions={"llmvault": "0"},
        policy_digest="0" * 64,
        rto_seconds=14_400.0,
        rpo_seconds=86_400.0,
        sources=tuple(
            SourceRecord(
                name=f"s{plan}-{number}",
                kind="configs",
                location="/srv",
                layout="tree",
                verdict=Verdict.PROVEN,
                reason="",
                snapshots={"bench": digest([name, number])},
                captured_from=at,
                captured_to=done,
                files=0,
                bytes=0,
                files_sha256="",
                observation=Observation(),
            )
            for number in range(SOURCES_OF_EACH)
        ),
        checks=(),
    )
    (state / "recovery-points" / f"{name}.jsonl").write_bytes(encode(manifest))
    return manifest


def _drill(state: Path, at: datetime, plan: int, point: str, lines: list[bytes]) -> DrillEntry:
    name = f"drill-{at:%Y%m%dT%H%M%SZ}-{plan:06x}"
    sources = [f"s{plan}-{number}" for number in range(SOURCES_OF_EACH)]
    facts = {"drill": name, "plan": f"p{plan}"}
    _enter(lines, at, "drill.started", facts)
    _enter(lines, at + timedelta(minutes=6), "drill.finished", {**facts, "verdict": "proven"})
    report = {
        "drill": name, "host": "bench", "policy_digest": "0" * 64, "engines": {},
        "checks": [{"name": "digests", "source": s, "verdict": "proven"} for s in sources],
        "sources": [{"name": s, "kind": "configs", "files": 1, "bytes": 1, "repository": "bench"}
                    for s in sources],
    }  # fmt: skip
    (state / "reports" / f"{name}.json").write_text(json.dumps(report))
    return DrillEntry(
        name, f"p{plan}", point, at, "proven", 14_400.0, 360.0, 86_400.0, 7_200.0, {}, ""
    )
