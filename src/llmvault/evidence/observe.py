"""Reading what evidence is made from: catalog, manifests, drill reports, policy files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llmvault.catalog.model import DrillEntry, PointEntry
from llmvault.core.errors import UnprovenError
from llmvault.core.files import sha256_file
from llmvault.evidence.model import (
    DrillFacts,
    ManifestFacts,
    Period,
    PlanFacts,
    PolicyFacts,
)
from llmvault.evidence.withhold import cleaned, masked
from llmvault.policy.loaded import LoadedPolicy
from llmvault.recovery_points.memory import Memory

_CHECK = ("name", "source", "verdict")
_SOURCE = ("name", "kind", "verdict", "files", "bytes", "files_sha256")


def manifest_facts(
    memory: Memory, points: Iterable[PointEntry], period: Period
) -> dict[str, ManifestFacts]:
    """Return recovery point -> what its manifest on this host tells; absent where it cannot."""
    found = {}
    for point in points:
        if not period.holds(point.started):
            continue
        try:
            data = memory.manifest_path(point.id).read_bytes()
            found[point.id] = _manifest(data, point.id)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _manifest(data: bytes, point: str) -> ManifestFacts:
    """Return the facts of a manifest whose bytes match the digest at their end."""
    body, _, trailer = data.rstrip(b"\n").rpartition(b"\n")
    if json.loads(trailer)["sha256"] != hashlib.sha256(body + b"\n").hexdigest():
        raise ValueError("altered")
    raw = json.loads(data[: data.index(b"\n")])["recovery_point"]
    if raw["id"] != point:
        raise ValueError("of another recovery point")
    return ManifestFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        policy_digest=raw["policy_digest"],
        rpo_seconds=raw["rpo_seconds"],
        sources=tuple(_source(one) for one in raw["sources"]),
        checks=tuple(_check(one) for one in raw["checks"]),
    )


def _source(raw: Mapping[str, Any]) -> dict[str, Any]:
    copies = sorted(masked(name) for name in raw["snapshots"])
    return {key: cleaned(raw[key]) for key in _SOURCE} | {"copies": copies}


def _check(raw: Mapping[str, Any]) -> dict[str, str]:
    return {key: masked(str(raw[key])) for key in _CHECK}


def report_facts(
    directory: Path, drills: Iterable[DrillEntry], period: Period
) -> dict[str, DrillFacts]:
    """Return drill -> what its report tells; absent where there is none that can be read.

    What engines answered stays behind: it may quote anything.
    """
    found = {}
    for drill in drills:
        if not period.holds(drill.started):
            continue
        try:
            data = (directory / f"{drill.id}.json").read_bytes()
            found[drill.id] = _report(data, drill.id)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _report(data: bytes, drill: str) -> DrillFacts:
    raw = json.loads(data)
    if raw["drill"] != drill:
        raise ValueError("of another drill")
    return DrillFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        host=raw["host"],
        checks=tuple(_check(one) for one in raw["checks"]),
        sources=tuple(
            {key: cleaned(one[key]) for key in ("name", "kind", "files", "bytes", "repository")}
            for one in raw["sources"]
        ),
        engines={
            masked(name): {key: masked(str(value)) for key, value in one.items()}
            for name, one in raw["engines"].items()
        },
        policy_digest=raw["policy_digest"],
    )


def policy_facts(loaded: LoadedPolicy) -> PolicyFacts:
    """Return what a policy promises, without free text and personal data.

    Raises:
        UnprovenError: when one of its files cannot be read any more.
    """
    policy = loaded.policy
    valid_for = policy.evidence.valid_for
    return PolicyFacts(
        digest=loaded.digest,
        values=cleaned(dict(loaded.values)),
        files=_file_digests(loaded),
        plans=tuple(
            PlanFacts(
                name,
                plan.sources,
                plan.repositories,
                plan.objectives.rto.total_seconds(),
                plan.objectives.rpo.total_seconds(),
            )
            for name, plan in policy.plans.items()
        ),
        sources={name: source.kind for name, source in policy.sources.items()},
        valid_for={kind: valid.total_seconds() for kind, valid in valid_for.items()},
    )


def _file_digests(loaded: LoadedPolicy) -> dict[str, str]:
    try:
        return {
            masked(str(file.relative_to(loaded.directory))): sha256_file(file)
            for file in loaded.files
        }
    except OSError as error:
        raise UnprovenError(
            f"policy in {loaded.directory}",
            f"{error.filename} was taken away while evidence was made: {error.strerror}",
            "run it again",
        ) from error
