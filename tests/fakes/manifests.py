"""Recovery points that nobody took."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import strategies as st

from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.manifest import file_section, section_digest
from llmvault.recovery_points.model import FileRecord, Manifest, SourceRecord
from llmvault.sources.interface import Observation

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FINISHED = datetime(2026, 1, 2, 3, 5, 6, 789000, tzinfo=UTC)
SHA256 = "ab" * 32


def file_record(path: str, *, size: int = 3, sha256: str = SHA256) -> FileRecord:
    """Return the record of a regular file."""
    return FileRecord(path, "file", size, 0o644, sha256)


def source_record(
    name: str,
    *files: FileRecord,
    kind: str = "model_dir",
    snapshots: Mapping[str, str] | None = None,
    verdict: Verdict = Verdict.PROVEN,
    reason: str = "",
    observation: Observation | None = None,
) -> SourceRecord:
    """Return the record of a source with these files."""
    return SourceRecord(
        name=name,
        kind=kind,
        location=f"/srv/{name}",
        layout="tree",
        verdict=verdict,
        reason=reason,
        snapshots={"primary": f"snapshot-of-{name}"} if snapshots is None else snapshots,
        captured_from=STARTED,
        captured_to=FINISHED,
        files=sum(record.kind == "file" for record in files),
        bytes=sum(record.size for record in files),
        files_sha256=section_digest(file_section(name, files)),
        observation=observation or Observation(),
    )


def manifest(
    *sources: SourceRecord,
    files: Mapping[str, tuple[FileRecord, ...]] | None = None,
    checks: tuple[Check, ...] = (),
    verdict: Verdict = Verdict.PROVEN,
    point: str = "rp-20260102T030405Z-abcdef",
) -> Manifest:
    """Return a recovery point of these sources."""
    return Manifest(
        id=point,
        plan="nightly",
        host="tests",
        started=STARTED,
        finished=FINISHED,
        verdict=verdict,
        versions={"llmvault": "0.1.0", "restic": "0.18.0"},
        policy_digest="cd" * 32,
        rto_seconds=900.0,
        rpo_seconds=86_400.5,
        sources=sources,
        checks=checks,
        files=files or {},
    )


names = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 47} & {*name})
paths = st.lists(names, min_size=1, max_size=4).map(lambda found: os.fsdecode(b"/".join(found)))
modes = st.integers(0, 0o7777)
sizes = st.integers(0, 1 << 53)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
file_records = st.one_of(
    st.builds(FileRecord, paths, st.just("file"), sizes, modes, digests),
    st.builds(FileRecord, paths, st.sampled_from(["dir", "fifo", "device"]), st.just(0), modes),
    st.builds(FileRecord, paths, st.just("symlink"), st.just(0), modes, st.just(""), paths),
)
