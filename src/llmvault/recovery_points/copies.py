"""Snapshots that restic copied have other ids; what a manifest names is found again by origin."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from llmvault.core.errors import VaultError
from llmvault.recovery_points.model import Manifest
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
        sources = tuple(
            replace(one, snapshots={**one.snapshots, name: ids[held]})
            if (held := one.snapshots.get(original)) in ids
            else one
            for one in manifest.sources
        )
        manifest = replace(manifest, sources=sources)
    return manifest
