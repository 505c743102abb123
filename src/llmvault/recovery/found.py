"""What a repository holds of installations: whole copies, and what manifests carry."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from llmvault.core.errors import IntegrityError, PolicyError, UnavailableError
from llmvault.recovery.model import SIZE_TAG, TAG, Tail
from llmvault.recovery.tail import read_tail
from llmvault.recovery_points.find import MANIFEST_TAG, POINT_KEY, read_manifest
from llmvault.recovery_points.manifest import TornManifestError, carried, decode
from llmvault.recovery_points.model import Manifest
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it is in a repository.

    Attributes:
        tail: what it carries of the installation.
    """

    manifest: Manifest
    data: bytes
    tail: Tail | None


@dataclass
class Holdings:
    """A repository's snapshots that matter here; manifests are read once."""

    repository: Repository
    identity: str
    snapshots: tuple[Snapshot, ...]
    _read: dict[str, Stored | None] = field(default_factory=dict)

    def copies(self) -> dict[str, Snapshot]:
        """Return ledger -> its newest whole copy: the one with most entries."""
        found: dict[str, Snapshot] = {}
        for one in self.snapshots:
            origin = one.tag(TAG)
            if origin and (origin not in found or size_of(one) >= size_of(found[origin])):
                found[origin] = one
        return found

    def points(self) -> dict[str, Snapshot]:
        """Return recovery point -> snapshot of its manifest, the newest first."""
        manifests = [one for one in reversed(self.snapshots) if MANIFEST_TAG in one.tags]
        return {one.tag(POINT_KEY): one for one in manifests}

    def manifest(self, point: str) -> Stored | None:
        """Return a manifest with what it carries; None for one of a backup that died.

        Raises:
            IntegrityError: when it is altered or damaged.
        """
        if point not in self._read:
            self._read[point] = self._load(point)
        return self._read[point]

    def _load(self, point: str) -> Stored | None:
        data = read_manifest(self.repository, self.points()[point])
        try:
            manifest, values = decode(data), carried(data)
        except TornManifestError as error:
            _log.warning("passing over %s: %s", point, error.cause)
            return None
        return Stored(manifest, data, None if values is None else read_tail(values))

    def manifests_since(self, copy: Snapshot | None) -> bool:
        """Whether a manifest is newer than a whole copy, and so may carry more."""
        manifests = (one for one in self.snapshots if MANIFEST_TAG in one.tags)
        return any(copy is None or one.time > copy.time for one in manifests)

    def tails(self, hosts: Collection[str] = ()) -> dict[str, Tail]:
        """Return ledger -> what the newest whole manifest of each of its hosts carries.

        Args:
            hosts: no other ones are looked at; all are when empty.
        """
        found: dict[str, Tail] = {}
        for tail in self._newest_tails(hosts):
            if tail.origin not in found or tail.size > found[tail.origin].size:
                found[tail.origin] = tail
        return found

    def _newest_tails(self, hosts: Collection[str]) -> Iterator[Tail]:
        settled: set[str] = set()
        for point, snapshot in self.points().items():
            if snapshot.host in settled or (hosts and snapshot.host not in hosts):
                continue
            stored = self.manifest(point)
            if stored is None:
                continue
            settled.add(snapshot.host)
            if stored.tail is not None:
                yield stored.tail


def size_of(copy: Snapshot) -> int:
    """Return how many entries a whole copy says that its ledger has."""
    told = copy.tag(SIZE_TAG)
    return int(told) if told.isascii() and told.isdigit() else 0


def look(repository: Repository) -> Holdings:
    """Open a repository and list it.

    Raises:
        UnavailableError: when it is absent or unreachable, or the password is wrong.
    """
    return Holdings(repository, repository.config_id(), repository.snapshots())


def choose(
    copies: Mapping[str, Snapshot], tails: Mapping[str, Tail], asked: str, thing: str
) -> str:
    """Return which ledger is meant: the one asked for, or the only one.

    Raises:
        PolicyError: when there are several, or not the one asked for.
        UnavailableError: when there is none.
    """
    origins = sorted({*copies, *tails})
    if not origins:
        raise UnavailableError(
            thing,
            "it holds no copy of an installation",
            "try another repository of it; data alone comes back by"
            " runbooks/recover-with-restic-alone.md",
        )
    if asked and asked not in origins:
        raise PolicyError(
            thing, f"it holds no copy of the installation {asked}", f"it has {', '.join(origins)}"
        )
    if not asked and len(origins) > 1:
        raise PolicyError(
            thing,
            f"it holds copies of several installations: {', '.join(origins)}",
            "name one: --origin ORIGIN",
        )
    return asked or origins[0]


def damaged(thing: str, cause: str) -> IntegrityError:
    """Return the error of a copy that does not fit together."""
    return IntegrityError(
        thing, cause, "try another repository of the installation, or an older copy"
    )
