"""What a backup will do. Pure: same arguments, same decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmvault.backup.model import BackupPlan, Reading
from llmvault.core.entries import Entry
from llmvault.recovery_points.model import FileState, LastRun

# Weights are incompressible in practice; what stores and configs hold is not.
_COMPRESSION = {"hf_cache": "off", "model_dir": "off", "ollama": "off"}


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """What the policy says of one source, as far as reading it goes, and what its driver can do."""

    name: str
    kind: str
    compression: str | None
    snapshot: str = "none"
    can: tuple[str, ...] = ()


def plan_backup(
    *,
    plan: str,
    recovery_point: str,
    sources: Sequence[SourceChoice],
    repositories: Sequence[str],
    last: LastRun,
) -> BackupPlan:
    """Return how each source will be read, compared with which snapshot."""
    readings = tuple(
        Reading(
            source=source.name,
            kind=source.kind,
            parents=dict(last.parents.get(source.name, {})),
            compression=source.compression or _COMPRESSION.get(source.kind, "auto"),
            ignore_inode=False,
            reason=_reason(source.name, last),
            snapshot=source.snapshot,
            can=source.can,
        )
        for source in sources
    )
    return BackupPlan(plan, recovery_point, tuple(repositories), readings)


def _reason(source: str, last: LastRun) -> str:
    if last.parents.get(source):
        return f"compared with {last.recovery_point}"
    if last.recovery_point:
        return "read in full: there is nothing to compare with"
    return "first backup: everything is read"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which files are unchanged since the last backup, and by which rule.

    Attributes:
        rule: ``first`` (nothing to compare with), ``strict`` (size, both times and inode decide) or
            ``moved`` (every file has a new inode or change time but the same size and modification
            time, as after a copy or a move; believed only once contents were compared).
        known: path -> digests that still hold under the rule.
        changed: entries to hash, in order.
    """

    rule: str
    known: Mapping[str, FileState]
    changed: tuple[Entry, ...]


def judge(
    files: Sequence[Entry], before: Mapping[str, FileState], *, trust_moved: bool
) -> Judgement:
    """Compare a listing with the file states of the last backup.

    `trust_moved` allows the rule ``moved``; without it a moved tree is read again.
    """
    if not before:
        return Judgement("first", {}, tuple(files))
    same = {entry.path: before[entry.path] for entry in files if _same(entry, before, strict=True)}
    moved = {
        entry.path: before[entry.path] for entry in files if _same(entry, before, strict=False)
    }
    if trust_moved and moved and not same:
        return Judgement("moved", moved, tuple(e for e in files if e.path not in moved))
    return Judgement("strict", same, tuple(e for e in files if e.path not in same))


def _same(entry: Entry, before: Mapping[str, FileState], *, strict: bool) -> bool:
    state = before.get(entry.path)
    if state is None or (state.size, state.mtime_ns) != (entry.size, entry.mtime_ns):
        return False
    return not strict or (state.ctime_ns, state.inode) == (entry.ctime_ns, entry.inode)
