"""Snapshots that restic copied have other ids; what a manifest names is found again by origin."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from llmvault.core.errors import VaultError
from llmvault.recovery_points.links import links_of, with_links
from llmvault.recovery_points.model import Manifest, SourceRecord
from llmvault.restic.repo import Repository

_log = logging.getLogger(__name__)


def with_copies(
    manifest: Manifest, repositories: Mapping[str, Repository], copies: Mapping[str, str]
) -> Manifest:
    """Return a manifest that also names the snapshots of copies.

    Args:
        copies: copy -> original, by repository name; copies that cannot be read are left out.
    """
    for name, original in copies.items():
        if name not in repositories:
            continue
        try:
            ids = {one.origin: one.id for one in repositories[name].snapshots()}
        except VaultError as error:
            _log.warning("the copy %s is not used: %s", name, error.cause)
            continue
        sources = tuple(_with_copy(one, name, original, ids) for one in manifest.sources)
        manifest = replace(manifest, sources=sources)
    return manifest


def _with_copy(
    record: SourceRecord, copy: str, original: str, ids: Mapping[str, str]
) -> SourceRecord:
    """Return a record that names a copy's snapshots, too, where the copy has them.

    Args:
        ids: snapshot of the original -> snapshot of the copy.
    """

    def added(held: Mapping[str, str]) -> Mapping[str, str]:
        origin = held.get(original, "")
        return {**held, copy: ids[origin]} if origin and origin in ids else held

    links = [replace(link, snapshots=added(link.snapshots)) for link in links_of(record)]
    return with_links(replace(record, snapshots=added(record.snapshots)), links)
