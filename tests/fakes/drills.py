"""Drill results and histories to show, in every verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from llmvault.catalog.model import DrillEntry
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.engines.interface import EngineIdentity
from llmvault.drill.model import DrilledSource, DrillResult, Objective, Phases

STARTED = datetime(2026, 3, 9, 14, 5, 30, tzinfo=UTC)
GENERATED = STARTED + timedelta(minutes=2)

CHECKS = (
    Check("digests", "models", Verdict.PROVEN, "31 files, 88.3 MiB: every SHA-256 is as recorded"),
    Check("tree", "models", Verdict.PROVEN, "74 names: kinds, sizes, modes and targets are there"),
    Check("links", "models", Verdict.PROVEN, "22 snapshot files lead to the recorded blobs"),
    Check("digests", "documents", Verdict.PROVEN, "5 files, 4.1 MiB: every SHA-256 is as recorded"),
    Check("collections", "documents", Verdict.PROVEN, "1 collection with 512 records, as recorded"),
    Check("digests", "configs", Verdict.PROVEN, "9 files, 18.2 KiB: every SHA-256 is as recorded"),
    Check("golden:prompts", "models", Verdict.PROVEN, "all 8 answers are the same (256 tokens)"),
    Check("golden:searches", "documents", Verdict.PROVEN, "recall@10 1.0000 over 8 queries"),
    Check("embedding-dimension", "", Verdict.PROVEN, "docs holds 384 dimensions, MiniLM makes 384"),
)
SOURCES = (
    DrilledSource("models", "hf_cache", 31, 92_590_000, "local", "4f2a91c07be35d10"),
    DrilledSource("documents", "chroma", 5, 4_300_000, "local", "b81d00e2f6a7c394"),
    DrilledSource("configs", "configs", 9, 18_640, "local", "07c5e9aa12d4f688"),
)
ENGINES = {
    "chat": EngineIdentity("llamacpp", "xllamacpp 2026.10.11549", "cpu AMD EPYC 9354", "q8_0"),
    "embedder": EngineIdentity("transformers", "torch 2.13.0", "cuda NVIDIA H200", "float32"),
}


def proven() -> DrillResult:
    """Return a drill in which all went well, far within its objectives."""
    return DrillResult(
        id="drill-20260309T140530Z-9c41d2",
        plan="assistant",
        recovery_point="rp-20260309T105530Z-1b7e30",
        host="scratch-1",
        started=STARTED,
        point_finished=STARTED - timedelta(hours=3, minutes=10),
        verdict=Verdict.PROVEN,
        checks=CHECKS,
        phases=Phases(fetch=21.4, verify=6.3, load=9.1, first_answer=3.2, total=41.2),
        rto=Objective(900.0, 41.2),
        rpo=Objective(86_400.0, 11_400.0),
        sources=SOURCES,
        engines=ENGINES,
        replay_seconds=18.6,
        versions={"llmvault": "0.1.0", "restic": "0.18.0", "python": "3.11.2"},
        policy_digest="sha256:" + "5e884898da28047151d0e56f8dc62927",
        report="",
    )


def failed() -> DrillResult:
    """Return a drill that found damage and was slower than its objective."""
    broken = Check(
        "digests",
        "models",
        Verdict.FAILED,
        "blobs/53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db: "
        "SHA-256 is 9f2c41d07a5e…, recorded was 53aa51172d14…",
    )
    other = Check("golden:searches", "documents", Verdict.UNPROVEN, "the engine was not started")
    checks = [check for check in CHECKS if check.name != "golden:searches"]
    return replace(
        proven(),
        verdict=Verdict.FAILED,
        checks=(broken, *checks[1:], other, Check("rto", "", Verdict.FAILED, "20m 40s of 15m 00s")),
        phases=Phases(fetch=1_100.0, verify=80.0, load=55.0, first_answer=5.0, total=1_240.0),
        rto=Objective(900.0, 1_240.0),
    )


def unproven() -> DrillResult:
    """Return a drill that ended before an engine answered."""
    missing = "xllamacpp is not installed; install llmvault[llamacpp]"
    checks = [check for check in CHECKS if not check.name.startswith("golden")]
    return replace(
        proven(),
        verdict=Verdict.UNPROVEN,
        checks=(*checks, Check("engine", "models", Verdict.UNPROVEN, missing)),
        phases=Phases(fetch=21.4, verify=6.3),
        rto=Objective(900.0, None),
        engines={},
        replay_seconds=None,
    )


def past(count: int, *, every: timedelta = timedelta(days=7)) -> tuple[DrillEntry, ...]:
    """Return so many drills before :data:`STARTED`, newest first, in changing verdicts."""
    return tuple(_entry(index, STARTED - every * (index + 1)) for index in range(count))


def _entry(index: int, started: datetime) -> DrillEntry:
    verdict = "failed" if index % 7 == 3 else "unproven" if index % 11 == 5 else "proven"
    measured = None if verdict == "unproven" else 38.0 + (index * 7) % 23
    return DrillEntry(
        id=f"drill-{started:%Y%m%dT%H%M%SZ}-{index:06x}",
        plan="assistant",
        recovery_point=f"rp-{index}",
        started=started,
        verdict=verdict,
        rto_objective_s=900.0,
        rto_measured_s=measured,
        rpo_objective_s=86_400.0,
        rpo_measured_s=7_200.0 + 600 * index,
        phases={"fetch": 20.0},
        report="",
    )
