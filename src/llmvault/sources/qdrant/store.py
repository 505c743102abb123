"""The driver of Qdrant."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.secrets import Secret
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import QdrantSource
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    Doomed,
    Erased,
    Finding,
    Observation,
    OpenStore,
    ProbeReport,
    RecordsTarget,
    RecordsView,
    Sought,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.qdrant.checks import check_snapshots
from llmvault.sources.qdrant.embedded import EmbeddedEngine, embedded_engine
from llmvault.sources.qdrant.importing import QdrantImporter
from llmvault.sources.qdrant.points import QdrantPoints
from llmvault.sources.qdrant.server import (
    QdrantServer,
    open_server,
    refuse_other_version,
)
from llmvault.sources.qdrant.shards import find_shards, shard_directory
from llmvault.sources.qdrant.snapshots import (
    INDEX,
    Captured,
    Journal,
    archives_of,
    look_inside,
    read_index,
    take,
)
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.checks import compare_exactly, findings_check
from llmvault.sources.stores.erasing import (
    Going,
    Remaking,
    erase_by_remaking,
    going,
    ids_going,
    mend,
)
from llmvault.sources.stores.files import clone_tree, copying, place_tree, refuse_place
from llmvault.sources.stores.residue import ResidueSearch
from llmvault.sources.stores.samples import presence_findings
from llmvault.sources.stores.settled import copy_settled, copy_still

_STATES = {
    "red": ("failed", "it is broken"),
    "grey": ("warning", "optimizations wait for an update"),
}


class QdrantStore:
    """A Qdrant server or cluster (``url``, ``nodes``), or a directory of Edge shards (``path``).

    Of a server every collection is snapshotted on every node; the snapshots are deleted from the
    server as soon as they are here. A directory is copied as it was at one moment, and the copy is
    opened by Qdrant's engine before it is handed out.
    """

    kind: ClassVar[str] = "qdrant"

    def __init__(self, name: str, config: QdrantSource, ports: SourcePorts) -> None:
        if (config.path is None) == (config.url is None):
            raise PolicyError(
                f'source "{name}"',
                "a qdrant source needs either path or url",
                "give one of them in the policy",
            )
        self.name = name
        self._config = config
        self._ports = ports
        nodes = () if config.url is None else (config.url, *config.nodes)
        self._urls = tuple(plain_url(one, f'source "{name}"') for one in nodes)
        keep = None if ports.keep is None else ports.keep / f"{name}.snapshots.json"
        self._journal = Journal(keep)

    def location(self) -> str:
        """Return the directory, or the server's address."""
        return str(self._config.path or self._urls[0])

    def observe(self) -> Observation:
        """Look at the names of shards; or ask a server for collections, counts and health."""
        if self._config.path is not None:
            names = set(self._shards(self._config.path))
            return Observation(
                findings=self._missing(names),
                versions=_package(),
                details={"mode": "directory", "names": sorted(names)},
            )
        with self._servers() as servers:
            return self._observe_server(servers)

    def _shards(self, path: Path) -> Mapping[str, Path]:
        if not path.is_dir():
            raise UnavailableError(
                self._thing(), "the directory does not exist", "correct the path in the policy"
            )
        return find_shards(path)

    def _observe_server(self, servers: Sequence[QdrantServer]) -> Observation:
        server = servers[0]
        points = QdrantPoints(server, at_one_moment=False)
        facts = points.facts(self._config.sample)
        findings = [*self._missing({one.name for one in facts}), *self._unnamed_nodes(servers)]
        for one in facts:
            health = server.health(one.name)
            if health.status in _STATES:
                severity, what = _STATES[health.status]
                findings.append(Finding(f"status-{health.status}", one.name, what, severity))
            if health.optimizer:
                detail = f"it cannot be optimized: {health.optimizer}"
                findings.append(Finding("optimizer-failed", one.name, detail, "warning"))
        return Observation(
            findings=tuple(findings),
            collections=facts,
            versions={"qdrant": server.version()},
            details={"mode": "server", "nodes": len(servers), "aliases": dict(server.aliases())},
        )

    def _unnamed_nodes(self, servers: Sequence[QdrantServer]) -> Iterator[Finding]:
        peers = servers[0].peers()
        named = {server.peer() for server in servers} if peers else set()
        if unnamed := sorted(set(peers) - named):
            detail = f"{len(unnamed)} nodes of its cluster are not named, e.g. {peers[unnamed[0]]}"
            yield Finding("nodes-not-named", "", detail, "warning")

    def _missing(self, present: set[str]) -> tuple[Finding, ...]:
        return presence_findings(present, self._config.collections, noun="collection")

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the snapshots of a server, or a copy of a directory's shards."""
        root = staging / "store"
        root.mkdir(mode=0o700)
        with copying(self._thing()):
            if self._config.path is None:
                observation = self._capture_server(root)
            else:
                observation = self._capture_directory(self._config.path, root, staging)
        yield TreeCapture(root, observation=observation)

    def _capture_server(self, root: Path) -> Observation:
        with self._servers() as servers:
            left = self._journal.sweep(servers)
            before = self._observe_server(servers)
            names = [facts.name for facts in before.collections]
            captured, found = take(servers, names, root, self._journal)
            after = self._observe_server(servers)
        findings = (*left, *before.findings, *found)
        changed = {one.name for one in before.collections if one not in after.collections}
        if not changed:
            return replace(before, findings=findings)
        try:
            with self._brought_up(root, captured) as engine:
                points = QdrantPoints(engine, at_one_moment=True)
                facts = points.facts(self._config.sample)
                return replace(before, findings=(*findings, *engine.findings()), collections=facts)
        except VaultError as error:
            detail = f"it was written to while it was captured, and the copy is not known: {error}"
            told = tuple(
                Finding("changed-during-capture", name, detail, "unproven")
                for name in sorted(changed)
            )
            return replace(before, findings=(*findings, *told))

    def _capture_directory(self, path: Path, root: Path, staging: Path) -> Observation:
        findings: list[Finding] = []
        for name, shard in self._shards(path).items():
            if not copy_settled(shard, shard_directory(root, name), self._ports.clock):
                detail = "it was written to while it was copied; hold its writer with quiesce"
                findings.append(Finding("changed-during-copy", name, detail, "unproven"))
        return self._describe_copy(root, staging, findings)

    def _describe_copy(
        self, root: Path, scratch: Path, findings: Sequence[Finding] = ()
    ) -> Observation:
        """Return what the engine says of a copy of shards; of a second one, for it writes."""
        names = set(find_shards(root))
        facts: tuple[CollectionFacts, ...] = ()
        found: tuple[Finding, ...] = ()
        try:
            with self._open_copy(root, scratch) as engine:
                facts = QdrantPoints(engine, at_one_moment=True).facts(self._config.sample)
                found = engine.findings()
        except IntegrityError as error:
            found = (Finding("cannot-open", "", error.cause, "failed"),)
        return Observation(
            findings=(*self._missing(names), *findings, *found),
            collections=facts,
            versions=_package(),
            details={"mode": "directory", "names": sorted(names)},
        )

    @contextmanager
    def _open_copy(self, root: Path, scratch: Path) -> Iterator[EmbeddedEngine]:
        with tempfile.TemporaryDirectory(prefix="qdrant-", dir=scratch) as private:
            copy = Path(private) / "store"
            with copying(self._thing()):
                clone_tree(root, copy)
            with self._open(copy) as engine:
                yield engine

    @contextmanager
    def _open(self, root: Path) -> Iterator[EmbeddedEngine]:
        shards = {name: [path] for name, path in find_shards(root).items()}
        with embedded_engine(self._ports.runner, f"Qdrant shards in {root}", shards) as engine:
            yield engine

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Check digests and content of snapshots; or open a copy of the shards, and compare."""
        if (restored / INDEX).is_file():
            return check_snapshots(self.name, restored, recorded)
        if not find_shards(restored):
            return (Check("shards", self.name, Verdict.FAILED, "there is no shard"),)
        try:
            found = self._describe_copy(restored, restored.parent)
        except UnavailableError as error:
            return (Check("shards", self.name, Verdict.UNPROVEN, error.cause),)
        return (
            *findings_check(self.name, found.findings),
            *compare_exactly(self.name, recorded.collections, found.collections),
        )

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the server, or a private copy of the directory: opening one writes to it."""
        if self._config.path is None:
            with self._servers() as servers:
                yield _OpenQdrant(servers[0], self._config.sample)
            return
        with (
            tempfile.TemporaryDirectory(prefix="llmvault-qdrant-") as private,
            self._copied(self._config.path, Path(private)) as engine,
        ):
            yield _OpenQdrant(engine, self._config.sample)

    @contextmanager
    def _copied(self, path: Path, private: Path) -> Iterator[EmbeddedEngine]:
        """Open a copy of the live shards.

        Raises:
            UnavailableError: when they are written to all the time.
        """
        root = private / "live"
        root.mkdir(mode=0o700)
        for name, shard in self._shards(path).items():
            target = shard_directory(root, name)
            copy_still(shard, target, self._ports.clock, self._thing(), what=name)
        with self._open(root) as engine:
            yield engine

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Open the restored shards, or those of the restored snapshots, by Qdrant's engine."""
        if not (restored / INDEX).is_file():
            with self._open_copy(restored, scratch) as engine:
                yield _OpenQdrant(engine, self._config.sample)
            return
        with tempfile.TemporaryDirectory(prefix="qdrant-", dir=scratch) as private:
            captured = read_index(restored)
            with self._brought_up(restored, captured, Path(private)) as engine:
                yield _OpenQdrant(engine, self._config.sample)

    @contextmanager
    def _brought_up(
        self, root: Path, captured: Captured, scratch: Path | None = None
    ) -> Iterator[EmbeddedEngine]:
        """Open the shards of a server's snapshots, unpacked below `scratch`."""
        with tempfile.TemporaryDirectory(prefix="qdrant-", dir=scratch or root.parent) as private:
            with copying(self._thing()):
                archives = archives_of(root, captured, Path(private))
            stated = {
                name: look_inside(root / snapshots[0].file).settings
                for name, snapshots in captured.collections.items()
                if snapshots
            }
            with embedded_engine(
                self._ports.runner,
                f"snapshots in {root}",
                archives,
                named=captured.aliases,
                stated=stated,
            ) as engine:
                yield engine

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Load snapshots into servers, one for each node; shards into a new directory.

        Args:
            address: a URL, or several with commas between them, in the order of the nodes.

        Raises:
            RefusedError: when the target holds one of the collections, is the live store, of
                another version, or not of this form.
        """
        to_server = urlsplit(address).scheme in ("http", "https")
        from_server = (restored / INDEX).is_file()
        if to_server != from_server:
            form = "snapshots of a server" if from_server else "shards of a directory"
            raise RefusedError(
                "the target",
                f"these are {form}, which cannot be loaded there",
                "give a server's URL for snapshots, a directory for shards, or capture records",
            )
        if to_server:
            return self._load_snapshots(
                restored, [plain_url(one, "the target") for one in address.split(",")]
            )
        target = Path(address)
        refuse_place(target, self._config.path, directory=True)
        place_tree(restored, target)
        with self._open(target) as engine:
            return QdrantPoints(engine, at_one_moment=True).facts(self._config.sample)

    def _load_snapshots(self, restored: Path, urls: Sequence[str]) -> tuple[CollectionFacts, ...]:
        captured = read_index(restored)
        if len(urls) != captured.nodes:
            raise RefusedError(
                "the target",
                f"{len(urls)} nodes are named, and the capture is of {captured.nodes}",
                "name as many nodes, with commas between them, or capture records",
            )
        with ExitStack() as stack:
            servers = [stack.enter_context(open_server(url, self._token())) for url in urls]
            self._refuse_used(servers[0], captured)
            try:
                self._upload(servers, restored, captured)
                points = QdrantPoints(servers[0], at_one_moment=False)
                facts = points.facts(self._config.sample)
            except BaseException:
                for name in captured.collections:
                    servers[0].drop(name)
                raise
        return tuple(one for one in facts if one.name in captured.collections)

    def _refuse_used(self, server: QdrantServer, captured: Captured) -> None:
        if server.url in self._urls:
            raise RefusedError(
                f"target {server.url}", "it is the live store", "give a fresh server"
            )
        refuse_other_version(captured.version, server.version())
        taken = {*server.names(), *server.aliases()}
        if there := sorted(taken & {*captured.collections, *captured.aliases}):
            raise RefusedError(
                f"target {server.url}",
                f"it already has a collection or alias {there[0]!r}; nothing was written",
                "give a fresh server, or delete it first",
            )

    def _upload(self, servers: Sequence[QdrantServer], restored: Path, captured: Captured) -> None:
        for name, snapshots in captured.collections.items():
            for one in snapshots:
                with (restored / one.file).open("rb") as file:
                    servers[one.node].upload(name, file, one.sha256)
        servers[0].name_collections(captured.aliases)

    @contextmanager
    def reading_records(self, scratch: Path) -> Iterator[RecordsView]:
        """Read the points of a server, or of a copy of the directory."""
        if self._config.path is None:
            with self._servers() as servers:
                yield QdrantPoints(servers[0], at_one_moment=False)
            return
        with self._copied(self._config.path, scratch) as engine:
            yield QdrantPoints(engine, at_one_moment=True)

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make fresh shards below `scratch`."""
        with QdrantImporter(self._ports).private_target(scratch) as target:
            yield target

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new directory, or a server with the source's token."""
        if urlsplit(address).scheme not in ("http", "https"):
            refuse_place(Path(address), self._config.path, directory=True)
        elif plain_url(address, "the target") in self._urls:
            raise RefusedError(f"target {address}", "it is the live store", "give a fresh server")
        with QdrantImporter(self._ports, self._token()).target(address) as target:
            yield target

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Make the shards anew without the points; delete them from a server.

        The engine's optimizer passes over shards with few deletions, and its log keeps what was
        written, so only new shards hold none of them.
        """
        chosen = going(self.name, doomed, self._config.subject_field)
        path = self._config.path
        if path is None:
            return self._erase_from_server(chosen)
        shards = self._shards(path) if path.is_dir() else {}
        how = Remaking(
            live=path,
            thing=self._thing(),
            reading=self.reading_records,
            making=QdrantImporter(self._ports).target,
            pairs=lambda fresh: [
                (shard_directory(fresh, name), shard)
                for name, shard in shards.items()
                if chosen.concerns(name)
            ],
        )
        for shard in shards.values():
            mend(shard)
        return erase_by_remaking(how, chosen, scratch)

    def _erase_from_server(self, chosen: Going) -> Erased:
        with self._servers() as servers:
            ids = ids_going(QdrantPoints(servers[0], at_one_moment=False), chosen)
            for name, some in ids.items():
                servers[0].forget(name, some)
        pending = "segments and log of the server keep deleted points until its optimizer rewrites "
        pending += "them; to be sure, make the collection anew and drop this one"
        deleted = {name: len(some) for name, some in ids.items()}
        return Erased(deleted, ("deleted by the server",), (pending,))

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look through every point, and every byte of the directory."""
        search = ResidueSearch(wanted, control)
        with self.reading_records(scratch) as view:
            search.points(view)
        if self._config.path is None:
            search.unread("its files are the server's, and not looked at")
        else:
            search.tree(self._config.path)
        return search.report()

    @contextmanager
    def _servers(self) -> Iterator[tuple[QdrantServer, ...]]:
        token = self._token()
        with ExitStack() as stack:
            yield tuple(stack.enter_context(open_server(url, token)) for url in self._urls)

    def _token(self) -> Secret | None:
        reference = self._config.token
        return self._ports.secrets.resolve(reference) if reference is not None else None

    def _thing(self) -> str:
        what = "Qdrant server" if self._config.path is None else "Qdrant shards in"
        return f"{what} {self.location()}"


class _OpenQdrant:
    """A Qdrant that answers (an ``OpenStore``)."""

    def __init__(self, engine: QdrantServer | EmbeddedEngine, sample: int) -> None:
        self._points = QdrantPoints(engine, at_one_moment=False)
        self._sample = sample

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count, settings and samples."""
        return self._points.facts(self._sample)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest points, compared one by one."""
        return self._points.search(collection, vector, k)


def _package() -> dict[str, str]:
    try:
        return {"qdrant-edge-py": version("qdrant-edge-py")}
    except PackageNotFoundError:
        return {}
