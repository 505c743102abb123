"""The earlier streams that a recovery point's stream builds on, as its manifest names them.

They stand in the source's details under ``builds_on``, with the restic snapshots that hold them, so
that one manifest is enough to restore the whole chain; their files are among the source's own. The
restic snapshot has a tag for each recovery point that it needs, so that whoever deletes one sees
that it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from llmvault.core.errors import IntegrityError
from llmvault.recovery_points.model import FileRecord, Manifest, SourceRecord
from llmvault.recovery_points.ownership import TAG
from llmvault.sources.interface import Link

NEEDS = f"{TAG}needs="
_KEY = "builds_on"


def links_of(record: SourceRecord) -> tuple[Link, ...]:
    """Return what a source's capture builds on, oldest first; nothing for most sources.

    Raises:
        IntegrityError: when the manifest does not name it in the documented form.
    """
    try:
        return tuple(Link(**one) for one in record.observation.details.get(_KEY, ()))
    except TypeError as error:
        raise IntegrityError("manifest", f"builds_on of {record.name}: {error}") from error


def telling_links(details: Mapping[str, Any], links: Iterable[Link]) -> dict[str, Any]:
    """Return details that name links; unchanged when there are none."""
    told = [{**asdict(link), "snapshots": dict(link.snapshots)} for link in links]
    return {**details, _KEY: told} if told else dict(details)


def with_links(record: SourceRecord, links: Iterable[Link]) -> SourceRecord:
    """Return a record that names these links instead."""
    details = telling_links(record.observation.details, links)
    return replace(record, observation=replace(record.observation, details=details))


def tags_for(links: Iterable[Link]) -> tuple[str, ...]:
    """Return the tags that say which recovery points a snapshot needs."""
    return tuple(f"{NEEDS}{link.recovery_point}" for link in links)


def needed_by(tags: Iterable[str]) -> frozenset[str]:
    """Return the recovery points that a snapshot with these tags needs."""
    return frozenset(tag.removeprefix(NEEDS) for tag in tags if tag.startswith(NEEDS))


def files_of(links: Iterable[Link]) -> tuple[FileRecord, ...]:
    """Return the files of links as a restore brings them."""
    return tuple(FileRecord(one.path, "file", one.size, one.mode, one.sha256) for one in links)


def chain_of(manifest: Manifest, source: str) -> tuple[Link, ...]:
    """Return what a later capture would build on: the links of a source, and its own stream.

    Nothing when it was not stored as a stream.
    """
    record = next((one for one in manifest.sources if one.name == source), None)
    if record is None or record.layout != "stream" or not record.snapshots:
        return ()
    links = links_of(record)
    known = {link.path for link in links}
    own = [one for one in manifest.files.get(source, ()) if one.path not in known]
    if len(own) != 1:
        return ()
    file = own[0]
    return (
        *links,
        Link(manifest.id, file.path, file.size, file.mode, file.sha256, record.snapshots),
    )
