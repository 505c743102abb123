"""What is checked of a restored capture of a server, without the engine."""

from __future__ import annotations

from pathlib import Path

from llmvault.core.errors import VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import Observation
from llmvault.sources.qdrant.snapshots import Captured, Inside, fault_of, look_inside, read_index
from llmvault.sources.qdrant.words import record_set
from llmvault.sources.records.export import facts_of


def check_snapshots(source: str, restored: Path, recorded: Observation) -> tuple[Check, ...]:
    """Check the digest of every snapshot, and that it holds every shard and the recorded settings.

    How many points are in it only the engine can tell, which a drill asks.
    """
    try:
        captured = read_index(restored)
        inside = {
            name: [look_inside(restored / one.file) for one in snapshots]
            for name, snapshots in captured.collections.items()
            if not any(fault_of(restored, one) for one in snapshots)
        }
    except VaultError as error:
        return (Check("store-snapshots", source, Verdict.FAILED, error.cause),)
    return (
        _snapshots(source, restored, captured),
        _collections(source, captured, inside, recorded),
        _settings(source, captured, inside, recorded),
    )


def _snapshots(source: str, restored: Path, captured: Captured) -> Check:
    files = [one for snapshots in captured.collections.values() for one in snapshots]
    for one in files:
        if fault := fault_of(restored, one):
            return Check("store-snapshots", source, Verdict.FAILED, fault)
    if not files:
        return Check("store-snapshots", source, Verdict.UNPROVEN, "the capture holds no snapshot")
    detail = f"{len(files)} snapshots of {captured.nodes} nodes have the recorded SHA-256"
    return Check("store-snapshots", source, Verdict.PROVEN, detail)


def _collections(
    source: str, captured: Captured, inside: dict[str, list[Inside]], recorded: Observation
) -> Check:
    wanted = {facts.name: facts.count for facts in recorded.collections}
    if not wanted:
        detail = "no collection was recorded to compare with"
        return Check("collections", source, Verdict.UNPROVEN, detail)
    for name in sorted(wanted.keys() | captured.collections.keys()):
        if name not in captured.collections or name not in wanted:
            what = "is not there" if name in wanted else "is there and was not recorded"
            return Check("collections", source, Verdict.FAILED, f"{name} {what}")
        segments = sum(sum(one.shards.values()) for one in inside.get(name, ()))
        if wanted[name] and not segments:
            detail = f"{name}: its snapshot holds no segment; {wanted[name]} points were recorded"
            return Check("collections", source, Verdict.FAILED, detail)
    detail = f"{len(wanted)} collections have snapshots with all their shards"
    return Check("collections", source, Verdict.PROVEN, detail)


def _settings(
    source: str, captured: Captured, inside: dict[str, list[Inside]], recorded: Observation
) -> Check:
    wanted = {facts.name: dict(facts.settings) for facts in recorded.collections}
    compared = 0
    for name, archives in inside.items():
        aliases = [key for key, one in captured.aliases.items() if one == name]
        for one in archives:
            found = facts_of(record_set(name, one.settings, "text", aliases), 0, ()).settings
            if name in wanted and dict(found) != wanted[name]:
                detail = f"{name}: its settings are not those recorded"
                return Check("settings", source, Verdict.FAILED, detail)
            compared += name in wanted
    if not compared:
        return Check("settings", source, Verdict.UNPROVEN, "no settings could be compared")
    detail = f"the settings of {compared} snapshots are those recorded"
    return Check("settings", source, Verdict.PROVEN, detail)
