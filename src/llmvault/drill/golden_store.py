"""Where goldens that a drill recorded are kept: in the repositories, and a copy on this host."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from llmvault.backup.stream import open_fan
from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError, VaultError
from llmvault.core.files import write_durably
from llmvault.drill.golden import GoldenSet, from_json, to_json
from llmvault.recovery_points.find import POINT_KEY
from llmvault.recovery_points.model import Manifest
from llmvault.recovery_points.ownership import TAG
from llmvault.restic.command import BackupOptions
from llmvault.restic.repo import Repository

FILENAME = "goldens.json"
GOLDENS_TAG = f"{TAG}goldens"


def read_sets(values: Iterable[object]) -> tuple[GoldenSet, ...]:
    """Return golden sets from their JSON values.

    Raises:
        IntegrityError: when one is not in the documented form.
    """
    return tuple(
        from_json(dict(value) if isinstance(value, Mapping) else value) for value in values
    )


def load_goldens(
    manifest: Manifest, repositories: Mapping[str, Repository], directory: Path
) -> tuple[GoldenSet, ...]:
    """Return the goldens of a recovery point: its own, then those that drills recorded for it.

    Raises:
        VaultError: when they are damaged, or no repository can be asked.
    """
    sets = {golden.name: golden for golden in _recorded(manifest.id, repositories, directory)}
    sets |= {golden.name: golden for golden in read_sets(manifest.goldens)}
    return tuple(sets.values())


def _recorded(
    point: str, repositories: Mapping[str, Repository], directory: Path
) -> tuple[GoldenSet, ...]:
    try:
        return _parse(_path(directory, point).read_bytes())
    except (OSError, IntegrityError):
        pass  # this host's copy only saves asking
    for repository in repositories.values():
        found = repository.snapshots((GOLDENS_TAG, f"{POINT_KEY}={point}"))
        if found:
            with repository.read_file(found[-1].id, f"/{FILENAME}") as chunks:
                data = b"".join(chunks)
            return _parse(data)
    return ()


def keep_goldens(
    manifest: Manifest,
    recorded: Sequence[GoldenSet],
    repositories: Mapping[str, Repository],
    directory: Path,
) -> None:
    """Keep what a drill recorded beside what earlier drills recorded for the same point.

    Raises:
        VaultError: when a repository could not store it; the local copy is kept all the same.
    """
    earlier = _recorded(manifest.id, repositories, directory)
    sets = {golden.name: golden for golden in (*earlier, *recorded)}
    data = canonical_bytes([to_json(golden) for golden in sets.values()])
    write_durably(_path(directory, manifest.id), data)
    tags = (GOLDENS_TAG, f"{TAG}plan={manifest.plan}", f"{POINT_KEY}={manifest.id}")
    with open_fan(repositories, FILENAME, BackupOptions(manifest.host, tags)) as fan:
        fan.write(data)
        for outcome in fan.finish().values():
            if isinstance(outcome, VaultError):
                raise outcome


def _parse(data: bytes) -> tuple[GoldenSet, ...]:
    try:
        values = json.loads(data)
    except ValueError as error:
        raise IntegrityError("recorded goldens", "they are no JSON") from error
    if not isinstance(values, list):
        raise IntegrityError("recorded goldens", "they are no list of golden sets")
    return read_sets(values)


def _path(directory: Path, point: str) -> Path:
    return directory / "goldens" / f"{point}.json"
