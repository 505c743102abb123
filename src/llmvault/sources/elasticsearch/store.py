"""The driver of Elasticsearch and OpenSearch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from llmvault.core.errors import PolicyError, RefusedError, UnavailableError
from llmvault.core.secrets import Secret, SecretRef
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.elasticsearch.cluster import Cluster
from llmvault.sources.elasticsearch.repository import Taken, read_taken, repository_problem
from llmvault.sources.elasticsearch.words import (
    ELASTICSEARCH,
    OPENSEARCH,
    Server,
    can_restore,
)
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    Observation,
    OpenStore,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.files import hand_over, place_tree, refuse_place
from llmvault.sources.stores.http import Access, store_api, target_with_location
from llmvault.sources.stores.samples import changed_findings, presence_findings
from llmvault.sources.walk import existing_root

if TYPE_CHECKING:
    from llmvault.policy.sources import SearchServerSource

_PREFIX = "llmvault-"


class _Reached(Protocol):
    """What a policy says of reaching a server."""

    @property
    def url(self) -> str: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> SecretRef | None: ...
    @property
    def api_key(self) -> SecretRef | None: ...
    @property
    def certificates(self) -> Path | None: ...


class SearchIndexes:
    """Indexes of a cluster, captured as a snapshot in a repository of files.

    The snapshot lies in a repository of llmvault's own whose directory this host sees, too; it is
    deleted when the files have been read, and one that a killed run left is deleted by the next.
    """

    kind: ClassVar[str]

    def __init__(self, name: str, config: SearchServerSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the server's address."""
        return plain_url(self._config.url, f'source "{self.name}"')

    def observe(self) -> Observation:
        """Ask for every index: count, mappings, settings, samples."""
        with self._cluster(self._config) as cluster:
            return self._observe(cluster)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the repository's files while a new snapshot lies in them."""
        root = existing_root(self._config.path, self.name)
        with self._cluster(self._config) as cluster:
            self._use_repository(cluster)
            self._sweep(cluster)
            cluster.refresh()
            before = self._observe(cluster)
            names = [facts.name for facts in before.collections]
            if not names:
                yield TreeCapture(root, paths=(), observation=before)
                return
            name = f"{self._prefix()}{self._ports.clock.now():%Y%m%d%H%M%S%f}"
            try:
                stated = cluster.take(self._config.repository, name, names)
                observation = self._described(before, cluster.describe(), stated)
                yield TreeCapture(root, observation=observation)
            finally:
                cluster.remove(self._config.repository, name)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Look at the repository's files: the snapshot is listed there, with each shard of it."""
        details = recorded.details.get("snapshot")
        if not isinstance(details, Mapping) or not details.get("indices"):
            detail = "the recovery point records no snapshot"
            return (Check("snapshots", self.name, Verdict.UNPROVEN, detail),)
        problem = repository_problem(restored, details["uuid"], details["indices"])
        if problem:
            return (Check("snapshots", self.name, Verdict.FAILED, problem),)
        shards = sum(details["indices"].values())
        detail = f"the snapshot is there with {shards} shards of {len(details['indices'])} indexes"
        return (Check("snapshots", self.name, Verdict.PROVEN, detail),)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the server."""
        with self._cluster(self._config) as cluster:
            yield cluster

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Restore into the policy's scratch server, and take everything away again.

        Raises:
            UnavailableError: when the policy names no scratch server.
        """
        server = self._config.scratch
        if server is None:
            raise UnavailableError(
                f'source "{self.name}"',
                "there is no server that its snapshot could be brought up in",
                "name one in the policy: scratch",
            )
        place = server.path / f"{_PREFIX}{self.name}-drill"
        seen = f"{server.server_path or server.path}/{place.name}"
        with self._cluster(server) as cluster:
            names = self._restore(cluster, restored, place, seen)
            try:
                yield cluster
            finally:
                cluster.drop(names)

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Restore into a cluster: ``http://host:9200?location=DIRECTORY``.

        The directory must be one of the target's ``path.repo``, or lie in one; where the target
        sees it under another path, add ``&server_location=PATH``.

        Raises:
            RefusedError: when it is the live cluster, has an index of these names, or is of a
                version that cannot restore the snapshot; nothing was written.
        """
        url, query = target_with_location(address)
        place = Path(query["location"])
        with self._cluster(self._config, url) as cluster:
            names = self._restore(
                cluster, restored, place, query.get("server_location", str(place))
            )
            found = cluster.describe()
        return tuple(facts for facts in found if facts.name in names)

    def _restore(self, cluster: Cluster, restored: Path, place: Path, seen: str) -> list[str]:
        """Restore everything; on a failure take away what was restored. Files never stay."""
        taken = read_taken(restored, self._prefix())
        target = cluster.server()
        self._refuse(cluster, target, taken)
        refuse_place(place, self._config.path, directory=True)
        names = list(taken.indices)
        repository = f"{_PREFIX}{self.name}-restore"
        place_tree(restored, place)
        try:
            hand_over(place)
            cluster.register(repository, seen, read_only=True)
            try:
                cluster.restore(repository, taken.name, names)
            except BaseException:
                cluster.drop(names)
                raise
            finally:
                cluster.unregister(repository)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return names

    def _refuse(self, cluster: Cluster, target: Server, taken: Taken) -> None:
        thing = f"target of version {target.version}"
        if target.cluster in (taken.cluster, self._live_cluster()):
            raise RefusedError(thing, "it is the live cluster", "give a fresh one")
        if problem := can_restore(self.kind, taken.version, target):
            raise RefusedError(thing, problem, "give a server that can restore it")
        if there := sorted(set(cluster.indices(["*"])) & set(taken.indices)):
            raise RefusedError(thing, f"it has an index {there[0]} already", "give a fresh one")

    def _live_cluster(self) -> str | None:
        """Return the uuid of the live cluster; None when that is lost."""
        with suppress(UnavailableError), self._cluster(self._config) as live:
            return live.server().cluster
        return None

    def _observe(self, cluster: Cluster) -> Observation:
        server = cluster.server()
        if server.kind != self.kind:
            raise PolicyError(
                f'source "{self.name}"', f"the server is {server.kind}", f"kind: {server.kind}"
            )
        facts = cluster.describe()
        wanted = tuple(name for name in self._config.indices if "*" not in name)
        findings = presence_findings({one.name for one in facts}, wanted, noun="index")
        return Observation(
            findings=findings,
            collections=facts,
            versions={server.kind: server.version},
            details={"cluster": server.cluster},
        )

    def _described(
        self, before: Observation, after: Sequence[CollectionFacts], stated: Mapping[str, Any]
    ) -> Observation:
        told = changed_findings(before.collections, after, taken="snapshot")
        snapshot = {
            "name": stated["snapshot"],
            "uuid": stated["uuid"],
            "indices": {facts.name: _shards(facts) for facts in before.collections},
        }
        return replace(
            before,
            findings=(*before.findings, *told),
            details={**before.details, "snapshot": snapshot},
        )

    def _use_repository(self, cluster: Cluster) -> None:
        config = self._config
        wanted = config.server_path or str(config.path)
        found = cluster.repository(config.repository)
        if found is None:
            cluster.register(config.repository, wanted, read_only=False)
            return
        location = (found.get("settings") or {}).get("location")
        if found.get("type") != "fs" or str(location).rstrip("/") != wanted.rstrip("/"):
            raise PolicyError(
                f'source "{self.name}"',
                f"the snapshot repository {config.repository} is not one of files in {wanted}",
                "name another repository, or correct path and server_path",
            )

    def _sweep(self, cluster: Cluster) -> None:
        for name in cluster.snapshots(self._config.repository):
            if name.startswith(self._prefix()):
                cluster.remove(self._config.repository, name)

    def _prefix(self) -> str:
        return f"{_PREFIX}{self.name}-"

    @contextmanager
    def _cluster(self, reached: _Reached, url: str | None = None) -> Iterator[Cluster]:
        address = plain_url(url or reached.url, f'source "{self.name}"')
        with store_api(self._access(reached, address), f"{self.kind} server {address}") as api:
            yield Cluster(
                api,
                self._ports.clock,
                indices=self._config.indices,
                sample=self._config.sample,
                limit=self._config.timeout.total_seconds(),
            )

    def _access(self, reached: _Reached, url: str) -> Access:
        resolve = self._ports.secrets.resolve
        headers, login = {}, None
        if reached.api_key is not None:
            headers["Authorization"] = Secret(f"ApiKey {resolve(reached.api_key).reveal()}")
        if reached.username is not None and reached.password is not None:
            login = (reached.username, resolve(reached.password))
        return Access(url, headers, login, reached.certificates)


class ElasticsearchIndexes(SearchIndexes):
    """Indexes of Elasticsearch 7.10 and newer."""

    kind: ClassVar[str] = ELASTICSEARCH


class OpenSearchIndexes(SearchIndexes):
    """Indexes of OpenSearch."""

    kind: ClassVar[str] = OPENSEARCH


def _shards(facts: CollectionFacts) -> int:
    settings = json.loads(facts.settings["settings"])
    return int(settings.get("number_of_shards", 1))
