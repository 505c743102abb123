"""The driver of Weaviate."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.core.secrets import Secret, SecretRef
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    Finding,
    Observation,
    OpenStore,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.files import hand_over, place_tree, refuse_place
from llmvault.sources.stores.http import (
    Access,
    numbers_of,
    store_api,
    target_with_location,
)
from llmvault.sources.stores.samples import changed_findings, presence_findings
from llmvault.sources.walk import existing_root
from llmvault.sources.weaviate.files import Taken, backup_problem, read_taken
from llmvault.sources.weaviate.server import Weaviate, has_tenants

if TYPE_CHECKING:
    from llmvault.policy.sources import WeaviateSource

_PREFIX = "llmvault-"


class WeaviateCollections:
    """Collections of a Weaviate, captured by its module ``backup-filesystem``.

    Backups lie in a directory that this host sees, too (``BACKUP_FILESYSTEM_PATH``); one is deleted
    when its files have been read, and one that a killed run left is deleted by the next.
    """

    kind: ClassVar[str] = "weaviate"

    def __init__(self, name: str, config: WeaviateSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the server's address."""
        return plain_url(self._config.url, f'source "{self.name}"')

    def observe(self) -> Observation:
        """Ask for every collection: count, definition, samples."""
        with self._server() as server:
            return self._observe(server)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the files of a new backup, and delete them afterwards."""
        root = existing_root(self._config.path, self.name)
        with self._server() as server:
            self._sweep(root)
            before = self._observe(server)
            names = [facts.name for facts in before.collections]
            if not names:
                yield TreeCapture(staging, observation=before)
                return
            name = f"{self._prefix()}{self._ports.clock.now():%Y%m%d%H%M%S%f}"
            try:
                server.back_up(name, names)
                place = self._made(root, name)
                yield TreeCapture(place, observation=self._described(before, server.describe()))
            finally:
                shutil.rmtree(root / name, ignore_errors=True)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Look at the backup's files: complete, with every collection and every chunk."""
        names = [facts.name for facts in recorded.collections]
        if not names:
            detail = "the recovery point records no collection"
            return (Check("snapshots", self.name, Verdict.UNPROVEN, detail),)
        problem = backup_problem(restored, names)
        if problem:
            return (Check("snapshots", self.name, Verdict.FAILED, problem),)
        detail = f"the backup is complete, with {len(names)} collections and all their chunks"
        return (Check("snapshots", self.name, Verdict.PROVEN, detail),)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the server."""
        with self._server() as server:
            yield server

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Restore into the policy's scratch server, and take everything away again.

        Raises:
            UnavailableError: when the policy names no scratch server.
        """
        there = self._config.scratch
        if there is None:
            raise UnavailableError(
                f'source "{self.name}"',
                "there is no server that its backup could be brought up in",
                "name one in the policy: scratch",
            )
        with self._server(there.url, there.token) as server:
            names = self._restore(server, restored, there.path)
            try:
                yield server
            finally:
                server.drop(names)

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Restore into a server: ``http://host:8080?location=DIRECTORY``.

        The directory is what the target knows as ``BACKUP_FILESYSTEM_PATH``.

        Raises:
            RefusedError: when it is the live server, has one of the collections, or is older than
                the backup; nothing was written.
        """
        url, query = target_with_location(address)
        if url == self.location():
            raise RefusedError(f"target {url}", "it is the live server", "give a fresh one")
        with self._server(url, self._config.token) as server:
            names = self._restore(server, restored, Path(query["location"]))
            found = server.describe()
        return tuple(facts for facts in found if facts.name in names)

    def _restore(self, server: Weaviate, restored: Path, directory: Path) -> list[str]:
        """Restore everything; on a failure take away what was restored. Files never stay."""
        taken = read_taken(restored)
        nodes = _refuse(server, taken)
        place = existing_root(directory, "target") / Path(taken.name).name
        refuse_place(place, self._config.path / taken.name, directory=True)
        names = list(taken.collections)
        place_tree(restored, place)
        try:
            hand_over(place)
            try:
                server.restore(taken.name, names, nodes)
            except BaseException:
                server.drop(names)
                raise
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return names

    def _observe(self, server: Weaviate) -> Observation:
        version = server.version()
        facts = server.describe()
        findings = [
            *presence_findings(
                {one.name for one in facts}, self._config.collections, noun="collection"
            ),
            *self._tenant_findings(server),
        ]
        if not os.access(self._config.path, os.W_OK | os.X_OK):
            detail = f"this user cannot delete what is made in {self._config.path}: backups stay"
            findings.append(Finding("backup-stays", "", detail, "warning"))
        return Observation(
            findings=tuple(findings),
            collections=facts,
            versions={"weaviate": version},
            details={"nodes": list(server.nodes())},
        )

    def _tenant_findings(self, server: Weaviate) -> Iterator[Finding]:
        for name, definition in server.schema().items():
            if has_tenants(definition):
                detail = "it has tenants: what is in them is neither counted nor sampled, and what"
                detail += " is offloaded is in no backup"
                yield Finding("tenants-not-read", name, detail, "unproven")

    def _described(self, before: Observation, after: Sequence[CollectionFacts]) -> Observation:
        told = changed_findings(before.collections, after, taken="backup")
        return replace(before, findings=(*before.findings, *told))

    def _made(self, root: Path, name: str) -> Path:
        place = root / name
        if not place.is_dir():
            raise UnavailableError(
                f'source "{self.name}"',
                f"the server made a backup, and {place} is not there",
                "correct path: the directory that the server knows as BACKUP_FILESYSTEM_PATH",
            )
        if problem := backup_problem(place, ()):
            raise IntegrityError(f"backup {name}", problem, "look at the server's log")
        return place

    def _sweep(self, root: Path) -> None:
        for place in root.glob(f"{self._prefix()}*"):
            shutil.rmtree(place, ignore_errors=True)

    def _prefix(self) -> str:
        # a backup's name may hold lower-case letters, digits, _ and - only
        return f"{_PREFIX}{self.name.replace('.', '_')}-"

    @contextmanager
    def _server(self, url: str | None = None, token: SecretRef | None = None) -> Iterator[Weaviate]:
        address = url or self._config.url
        given = token if url else self._config.token
        headers: Mapping[str, Secret] = {}
        if given is not None:
            bearer = self._ports.secrets.resolve(given).reveal()
            headers = {"Authorization": Secret(f"Bearer {bearer}")}
        address = plain_url(address, f'source "{self.name}"')
        access = Access(address, headers, None, self._config.certificates)
        with store_api(access, f"Weaviate server {address}") as api:
            yield Weaviate(
                api,
                self._ports.clock,
                collections=self._config.collections,
                sample=self._config.sample,
                limit=self._config.timeout.total_seconds(),
            )


def _refuse(server: Weaviate, taken: Taken) -> dict[str, str]:
    """Refuse a target that is of no use; return node that was backed up -> node there."""
    version = server.version()
    thing = f"target of version {version}"
    if numbers_of(version) < numbers_of(taken.version):
        cause = f"it is older than the server that was backed up, {taken.version}"
        raise RefusedError(thing, cause, "give a server of that version or newer")
    if there := sorted(set(server.schema()) & set(taken.collections)):
        raise RefusedError(thing, f"it has a collection {there[0]} already", "give a fresh one")
    nodes, targets = sorted(taken.nodes), list(server.nodes())
    if len(nodes) != len(targets):
        cause = f"it has {len(targets)} nodes, {len(nodes)} were backed up"
        raise RefusedError(thing, cause, "give a cluster of as many nodes")
    return {old: new for old, new in zip(nodes, targets, strict=True) if old != new}
