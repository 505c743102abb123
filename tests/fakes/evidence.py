"""A ledger as a tree in memory, a signing key, and a quarter of somebody's backups and drills."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from llmvault.catalog.model import DrillEntry, PointEntry
from llmvault.core.canonical import canonical_bytes, digest
from llmvault.core.units import format_time
from llmvault.evidence.model import (
    DrillFacts,
    LedgerEntry,
    LedgerPart,
    ManifestFacts,
    Period,
    PlanFacts,
    PolicyFacts,
)
from llmvault.evidence.observed import Observed

ORIGIN = "example.org/ledger"
END = datetime(2026, 9, 30, 12, 0, tzinfo=UTC)
BEGIN = END - timedelta(days=90)


@dataclass(frozen=True)
class FakeSigner:
    """An Ed25519 key made from a seed."""

    seed: str = "evidence"

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.seed.encode()).digest())

    @property
    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def raw(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def holds(public_pem: bytes, data: bytes, signature: bytes) -> bool:
    """Whether a signature is a key's over data."""
    try:
        key = load_pem_public_key(public_pem)
        assert isinstance(key, Ed25519PublicKey)
        key.verify(signature, data)
    except (InvalidSignature, ValueError, AssertionError):
        return False
    return True


@dataclass
class FakeLedger:
    """Keeps entries in a list and makes checkpoints and proofs by the definitions of RFC 6962."""

    signer: FakeSigner
    entries: list[LedgerEntry] = field(default_factory=list)
    now: datetime = END
    _hashes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _size: int = 0

    def append(self, kind: str, facts: Mapping[str, Any]) -> int:
        return self.add(self.now, kind, facts)

    def add(self, time: datetime, kind: str, facts: Mapping[str, Any]) -> int:
        index = len(self.entries)
        raw = canonical_bytes({"facts": dict(facts), "kind": kind, "time": format_time(time)})
        self.entries.append(LedgerEntry(index, time, kind, dict(facts), raw))
        return index

    def part(self, period: Period) -> LedgerPart:
        self._size, self._hashes = len(self.entries), {}
        found = [entry.index for entry in self.entries if period.holds(entry.time)]
        kept = self.entries[min(found) : max(found) + 1] if found else []
        return LedgerPart(self.checkpoint(), tuple(kept))

    def proofs(self, indices: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(self._proof(index) for index in indices)

    def checkpoint(self) -> bytes:
        root = (
            base64.b64encode(self._hash(0, self._size)).decode()
            if self._size
            else (base64.b64encode(hashlib.sha256().digest()).decode())
        )
        body = f"{ORIGIN}\n{self._size}\n{root}\n"
        key_id = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + self.signer.raw).digest()[:4]
        signature = base64.b64encode(key_id + self.signer.sign(body.encode())).decode()
        return f"{body}\n— {ORIGIN} {signature}\n".encode()

    def _proof(self, index: int) -> bytes:
        path = [base64.b64encode(one).decode() for one in self._path(index, 0, self._size)]
        head = "\n".join(["c2sp.org/tlog-proof@v1", f"index {index}", *path])
        return f"{head}\n\n".encode() + self.checkpoint()

    def _path(self, index: int, begin: int, end: int) -> Iterator[bytes]:
        if end - begin == 1:
            return
        middle = begin + _half(end - begin)
        if index < middle:
            yield from self._path(index, begin, middle)
            yield self._hash(middle, end)
        else:
            yield from self._path(index, middle, end)
            yield self._hash(begin, middle)

    def _hash(self, begin: int, end: int) -> bytes:
        if (begin, end) not in self._hashes:
            self._hashes[begin, end] = self._made(begin, end)
        return self._hashes[begin, end]

    def _made(self, begin: int, end: int) -> bytes:
        if end - begin == 1:
            return hashlib.sha256(b"\x00" + self.entries[begin].raw).digest()
        middle = begin + _half(end - begin)
        both = self._hash(begin, middle) + self._hash(middle, end)
        return hashlib.sha256(b"\x01" + both).digest()


def _half(count: int) -> int:
    half = 1
    while half * 2 < count:
        half *= 2
    return half


@dataclass
class Quarter:
    """Ninety days of backups, drills, retention, holds and tamper tests, as they go in life.

    Attributes:
        plans: how many backup plans; each has `sources` sources.
    """

    signer: FakeSigner = field(default_factory=FakeSigner)
    plans: int = 3
    sources: int = 3
    days: int = 90
    trouble: bool = True

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(self.signer)
        self.points: list[PointEntry] = []
        self.drills: list[DrillEntry] = []
        self.manifests: dict[str, ManifestFacts] = {}
        self.reports: dict[str, DrillFacts] = {}
        self.begin = END - timedelta(days=self.days)
        self._live()

    @property
    def names(self) -> list[str]:
        """The plans' names."""
        known = ["assistant", "search", "tickets", "embeddings", "adapters"]
        return (known + [f"plan-{number}" for number in range(self.plans)])[: self.plans]

    def _live(self) -> None:
        for day in range(self.days):
            midnight = self.begin + timedelta(days=day)
            for number, plan in enumerate(self.names):
                self._day(day, midnight + timedelta(hours=2, minutes=7 * number), number, plan)
            if day % 7 == 1:
                self._retention(midnight + timedelta(hours=5), day)
            if day % 30 == 5:
                self._tamper(midnight + timedelta(hours=6), refused=day < 60 or not self.trouble)
        self._hold(self.begin + timedelta(days=20, hours=9))

    def _day(self, day: int, at: datetime, number: int, plan: str) -> None:
        bad = self.trouble and number == 1 and day in (40, 41)
        skipped = self.trouble and number == 0 and day == 63
        if not skipped:
            self._backup(at, plan, "unproven" if bad else "proven")
        if day % 7 == number % 7:
            slow = self.trouble and number == 1 and day > 70
            failed = self.trouble and number == 2 and day == 44
            self._drill(at + timedelta(hours=3), plan, 1_250.0 if slow else 310.0 + 9 * (day % 17),
                        "failed" if failed else "proven")  # fmt: skip

    def _backup(self, at: datetime, plan: str, verdict: str) -> None:
        point = f"rp-{at:%Y%m%dT%H%M%SZ}-{digest([plan, format_time(at)])[:6]}"
        done = at + timedelta(minutes=11)
        self.ledger.add(at, "backup.started", {"recovery_point": point, "plan": plan})
        self.ledger.add(
            done, "backup.finished", {"recovery_point": point, "plan": plan, "verdict": verdict}
        )
        sources = [self._source(plan, index, point, verdict) for index in range(self.sources)]
        row = {"snapshots": {"primary": digest(point), "offsite": digest([point])}, "reason": ""}
        self.points.append(
            PointEntry(
                point,
                plan,
                "gpu-1",
                at,
                done,
                verdict,
                1_240 * self.sources,
                9 << 30,
                tuple({**one, **row} for one in sources),
            )
        )
        copies = ["offsite", "primary"]
        self.manifests[point] = ManifestFacts(
            digest(["manifest", point]), digest("policy"), 86_400.0,
            tuple({**one, "files_sha256": digest(one), "copies": copies} for one in sources),
            ({"name": "embedding-dimension", "source": "", "verdict": verdict},),
        )  # fmt: skip

    def _source(self, plan: str, index: int, point: str, verdict: str) -> dict[str, Any]:
        return {
            "name": f"{plan}-{index}",
            "kind": ("hf_cache", "chroma", "configs")[index % 3],
            "verdict": verdict if index == 0 else "proven",
            "files": 1_240,
            "bytes": 3 << 30,
        }

    def _drill(self, at: datetime, plan: str, seconds: float, verdict: str) -> None:
        drill = f"drill-{at:%Y%m%dT%H%M%SZ}-{digest([plan, format_time(at)])[:6]}"
        self.ledger.add(at, "drill.started", {"drill": drill, "plan": plan})
        self.ledger.add(
            at + timedelta(seconds=seconds), "drill.finished",
            {"drill": drill, "plan": plan, "verdict": verdict},
        )  # fmt: skip
        self.drills.append(
            DrillEntry(
                drill,
                plan,
                self.points[-1].id,
                at,
                verdict,
                900.0,
                seconds,
                86_400.0,
                11_400.0,
                {"fetch": seconds * 0.6, "total": seconds},
                "",
            )
        )
        names = [f"{plan}-{index}" for index in range(self.sources)]
        self.reports[drill] = DrillFacts(
            digest(["report", drill]), "scratch-1",
            tuple({"name": "digests", "source": one, "verdict": verdict if one == names[0] else
                   "proven"} for one in names),
            tuple({"name": one, "kind": "configs", "files": 3, "bytes": 9, "repository": "primary"}
                  for one in names),
            {"language": {"engine": "llamacpp", "version": "1", "device": "cuda", "dtype": "q8"}},
            digest("policy"),
        )  # fmt: skip

    def _retention(self, at: datetime, day: int) -> None:
        plan = digest(["retention", day])
        old = self.begin - timedelta(days=35 - day)
        gone = [f"rp-{old - timedelta(days=n):%Y%m%dT%H%M%SZ}-0000{n:02x}" for n in range(4)]
        asked = [
            {"recovery_point": one, "repository": "primary",
             "why": "class standard keeps 35 dailies; it is older, and no weekly or monthly"}
            for one in gone
        ]  # fmt: skip
        self.ledger.add(at, "retention.started", {"plan": plan, "recovery_points": asked})
        left: list[dict[str, str]] = []
        self.ledger.add(
            at + timedelta(minutes=4), "retention.applied",
            {"plan": plan, "deleted": [
                {"recovery_point": one, "repository": "primary"} for one in gone], "left": left},
        )  # fmt: skip

    def _tamper(self, at: datetime, *, refused: bool) -> None:
        verdict = "proven" if refused else "failed"
        for repository in ("primary", "offsite"):
            said = verdict if repository == "offsite" else "proven"
            self.ledger.add(at, "tamper.started", {"repository": repository})
            self.ledger.add(
                at + timedelta(seconds=9), "tamper.tested",
                {"repository": repository, "verdict": said,
                 "attempts": {"delete-version": "proven", "shorten": said}},
            )  # fmt: skip

    def _hold(self, at: datetime) -> None:
        facts = {"id": "hold-1", "kind": "source", "target": "assistant-1", "matter": "2026-17",
                 "why": "litigation", "by": "counsel"}  # fmt: skip
        self.ledger.add(at, "hold.added", facts)
        self.ledger.add(at + timedelta(days=3), "index.rebuilt", {"id": "index-3"})

    def observed(self, period: Period | None = None) -> Observed:
        """Return what observing it gives."""
        whole = period or Period(self.begin, END)
        ordered = sorted(self.ledger.entries, key=lambda entry: entry.time)
        self.ledger.entries = [
            LedgerEntry(index, one.time, one.kind, one.facts, one.raw)
            for index, one in enumerate(ordered)
        ]
        plans = tuple(
            PlanFacts(
                plan,
                tuple(f"{plan}-{index}" for index in range(self.sources)),
                ("primary", "offsite"),
                900.0,
                86_400.0,
            )
            for plan in self.names
        )
        return Observed(
            host="gpu-1",
            version="0.1.0",
            generated=END,
            period=whole,
            ledger=self.ledger.part(whole),
            points=tuple(self.points),
            drills=tuple(self.drills),
            restores=(),
            manifests=self.manifests,
            reports=self.reports,
            policy=PolicyFacts(
                digest("policy"),
                {"version": 1},
                {"policy.yaml": digest("file")},
                plans,
                {source: "configs" for plan in plans for source in plan.sources},
                {},
            ),
        )
