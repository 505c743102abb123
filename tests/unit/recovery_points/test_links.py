"""What a recovery point builds on, as its manifest and its tags name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from llmvault.core.errors import IntegrityError
from llmvault.recovery_points.copies import with_copies
from llmvault.recovery_points.links import (
    chain_of,
    files_of,
    links_of,
    needed_by,
    tags_for,
    with_links,
)
from llmvault.recovery_points.manifest import decode, encode
from llmvault.recovery_points.model import FileRecord, Manifest
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository
from llmvault.sources.interface import Link
from tests.fakes.manifests import manifest as example_manifest
from tests.fakes.manifests import source_record

FIRST = Link("rp-1", "0000-full-7.zfs", 10, 0o644, "a" * 64, {"primary": "s1"})
OWN = FileRecord("0001-increment-7-8.zfs", "file", 3, 0o644, "b" * 64)


def built() -> Manifest:
    """Return a manifest whose first source is a stream that builds on another."""
    files = (*files_of([FIRST]), OWN)
    record = source_record("tank", *files, kind="zfs_stream", snapshots={"primary": "s2"})
    record = replace(record, layout="stream")
    return example_manifest(with_links(record, [FIRST]), files={"tank": files})


def test_links_survive_the_manifest() -> None:
    manifest = decode(encode(built()))
    assert links_of(manifest.sources[0]) == (FIRST,)
    name = manifest.sources[0].name
    assert [link.path for link in chain_of(manifest, name)] == [FIRST.path, OWN.path]
    own = chain_of(manifest, name)[-1]
    assert (own.recovery_point, own.snapshots, own.sha256) == (
        manifest.id,
        {"primary": "s2"},
        OWN.sha256,
    )


def test_what_is_no_stream_is_not_built_on() -> None:
    manifest = example_manifest(source_record("docs", OWN), files={"docs": (OWN,)})
    assert chain_of(manifest, "docs") == ()
    assert chain_of(manifest, "nosuch") == ()


def test_tags_tell_what_is_needed() -> None:
    second = replace(FIRST, recovery_point="rp-2")
    assert needed_by((*tags_for([FIRST, second]), "llmvault:plan=x")) == {"rp-1", "rp-2"}


def test_links_in_another_form_are_an_error() -> None:
    record = built().sources[0]
    details = {"builds_on": [{"recovery_point": "rp-1"}]}
    broken = replace(record, observation=replace(record.observation, details=details))
    with pytest.raises(IntegrityError, match="builds_on"):
        links_of(broken)


class Copy:
    """A repository that restic's copy has filled."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins

    def snapshots(self) -> tuple[Snapshot, ...]:
        return tuple(
            Snapshot(identity, datetime.now(UTC), "h", (), (), original=origin)
            for identity, origin in self._origins.items()
        )


def test_the_snapshots_of_a_copy_are_named_for_links_too() -> None:
    copy = cast(Repository, Copy({"c1": "s1", "c2": "s2"}))
    manifest = with_copies(built(), {"second": copy}, {"second": "primary"})
    assert manifest.sources[0].snapshots == {"primary": "s2", "second": "c2"}
    (link,) = links_of(manifest.sources[0])
    assert link.snapshots == {"primary": "s1", "second": "c1"}
