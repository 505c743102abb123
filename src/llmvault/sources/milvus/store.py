"""The driver of Milvus."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError, UnavailableError
from llmvault.core.secrets import Secret
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import MilvusSource
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
from llmvault.sources.milvus.importing import (
    LITE,
    MilvusImporter,
    lite_directory,
    open_milvus,
)
from llmvault.sources.milvus.points import MilvusPoints
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.checks import compare_exactly, findings_check
from llmvault.sources.stores.erasing import (
    Going,
    Remaking,
    erase_by_remaking,
    going,
    ids_going,
)
from llmvault.sources.stores.files import clone_tree, copying, place_tree, refuse_place
from llmvault.sources.stores.parquet import parquet_points
from llmvault.sources.stores.residue import ResidueSearch
from llmvault.sources.stores.samples import presence_findings
from llmvault.sources.stores.settled import copy_settled, copy_still

_COLLECTIONS = "collections"
_LOCK = "LOCK"


class MilvusStore:
    """A database directory of milvus-lite (``path``), or a running server (``url``).

    A directory is copied as it was at one moment, and the copy is opened by milvus-lite before it
    is handed out. Of a server only records can be captured.
    """

    kind: ClassVar[str] = "milvus"

    @property
    def capture_by_default(self) -> str:
        """What is captured when the policy does not say."""
        return "records" if self._config.path is None else "native"

    def __init__(self, name: str, config: MilvusSource, ports: SourcePorts) -> None:
        if (config.path is None) == (config.url is None):
            raise PolicyError(
                f'source "{name}"',
                "a milvus source needs either path or url",
                "give one of them in the policy",
            )
        if config.url is not None and config.capture == "native":
            raise PolicyError(
                f'source "{name}"',
                "a Milvus server's own backups are made by a tool of its own, so only its records "
                "can be captured",
                "leave out capture: native",
            )
        self.name = name
        self._config = config
        self._ports = ports
        self._url = plain_url(config.url, f'source "{name}"') if config.url is not None else ""

    def location(self) -> str:
        """Return the directory, or the server's address."""
        return str(self._config.path or self._url)

    def observe(self) -> Observation:
        """List the collections of a directory by their files, or ask a server for its own."""
        if self._config.path is not None:
            names = set(self._names(self._config.path))
            return Observation(
                findings=self._missing(names),
                versions=_package(),
                details={"mode": "directory", "names": sorted(names)},
            )
        with self._server() as points:
            found = points.record_sets()
            return Observation(
                findings=self._missing({one.name for one in found}),
                versions={"milvus": points.version()},
                details={"mode": "server", "names": [one.name for one in found]},
            )

    def _names(self, path: Path) -> Sequence[str]:
        if path.is_file():
            raise UnavailableError(
                self._thing(),
                "it is a single file, as milvus-lite 2 made them",
                "have milvus-lite 3 make a directory of it, or back it up as a sqlite source",
            )
        if not path.is_dir():
            raise UnavailableError(
                self._thing(), "the directory does not exist", "correct the path in the policy"
            )
        return _names_in(path)

    def _missing(self, present: set[str]) -> tuple[Finding, ...]:
        return presence_findings(present, self._config.collections, noun="collection")

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield a copy of the directory.

        Raises:
            RefusedError: for a server.
        """
        path = self._config.path
        if path is None:
            raise RefusedError(
                f"Milvus server {self._url}",
                "only its records can be captured",
                "set capture: records",
            )
        self._names(path)
        root = staging / LITE
        findings: list[Finding] = []
        with copying(self._thing()):
            if not copy_settled(path, root, self._ports.clock):
                detail = "it was written to while it was copied; hold its writer with quiesce"
                findings.append(Finding("changed-during-copy", "", detail, "unproven"))
            (root / _LOCK).unlink(missing_ok=True)
        yield TreeCapture(root, observation=self._describe_copy(root, staging, findings))

    def _describe_copy(
        self, root: Path, scratch: Path, findings: Sequence[Finding] = ()
    ) -> Observation:
        """Return what milvus-lite says of a copy; of a second one, for it writes."""
        names = set(_names_in(root))
        facts: tuple[CollectionFacts, ...] = ()
        found: tuple[Finding, ...] = ()
        try:
            with self._open_copy(root, scratch) as points:
                facts = points.describe(self._config.sample)
                found = points.findings()
        except IntegrityError as error:
            found = (Finding("cannot-open", "", error.cause, "failed"),)
        return Observation(
            findings=(*self._missing(names), *findings, *found),
            collections=facts,
            versions=_package(),
            details={"mode": "directory", "names": sorted(names)},
        )

    @contextmanager
    def _open_copy(self, root: Path, scratch: Path) -> Iterator[MilvusPoints]:
        with tempfile.TemporaryDirectory(prefix="milvus-", dir=scratch) as private:
            copy = Path(private) / LITE
            with copying(self._thing()):
                clone_tree(root, copy)
            with open_milvus(self._ports.runner, str(copy)) as client:
                yield MilvusPoints(client, at_one_moment=True)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Have milvus-lite open a copy of the restored directory, and compare."""
        if not (restored / _COLLECTIONS).is_dir():
            detail = "there is no collection"
            return (Check("collections", self.name, Verdict.FAILED, detail),)
        try:
            found = self._describe_copy(restored, restored.parent)
        except UnavailableError as error:
            return (Check("collections", self.name, Verdict.UNPROVEN, error.cause),)
        return (
            *findings_check(self.name, found.findings),
            *compare_exactly(self.name, recorded.collections, found.collections),
        )

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the server, or a private copy of the directory: its program has it locked."""
        if self._config.path is None:
            with self._server() as points:
                yield _OpenMilvus(points, self._config.sample)
            return
        with (
            tempfile.TemporaryDirectory(prefix="llmvault-milvus-") as private,
            self._copied(self._config.path, Path(private)) as points,
        ):
            yield _OpenMilvus(points, self._config.sample)

    @contextmanager
    def _copied(self, path: Path, private: Path) -> Iterator[MilvusPoints]:
        """Open a copy of the live directory.

        Raises:
            UnavailableError: when it is written to all the time.
        """
        self._names(path)
        root = private / LITE
        copy_still(path, root, self._ports.clock, self._thing())
        with open_milvus(self._ports.runner, str(root)) as client:
            yield MilvusPoints(client, at_one_moment=True)

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Open a copy of the restored directory."""
        with self._open_copy(restored, scratch) as points:
            yield _OpenMilvus(points, self._config.sample)

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Copy the restored directory to a new one, whose name must end in ``.db``.

        Raises:
            RefusedError: when it is not new, touches the live one, or is a server.
        """
        if urlsplit(address).scheme in ("http", "https"):
            raise RefusedError(
                "the target",
                "a directory of milvus-lite cannot be loaded into a server",
                "give a path, or back it up with capture: records",
            )
        target = lite_directory(address)
        refuse_place(target, self._config.path, directory=True)
        place_tree(restored, target)
        with open_milvus(self._ports.runner, str(target)) as client:
            return MilvusPoints(client, at_one_moment=True).describe(self._config.sample)

    @contextmanager
    def reading_records(self, scratch: Path) -> Iterator[RecordsView]:
        """Read the entities of a server, or of a copy of the directory."""
        if self._config.path is None:
            with self._server() as points:
                yield points
            return
        with self._copied(self._config.path, scratch) as points:
            yield points

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a fresh directory of milvus-lite below `scratch`."""
        with MilvusImporter(self._ports).private_target(scratch) as target:
            yield target

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new directory, or a server with the source's token."""
        if urlsplit(address).scheme not in ("http", "https"):
            refuse_place(lite_directory(address), self._config.path, directory=True)
        elif plain_url(address, "the target") == self._url:
            raise RefusedError(f"target {address}", "it is the live store", "give a fresh server")
        importer = MilvusImporter(self._ports, self._token(), self._config.database)
        with importer.target(address) as target:
            yield target

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Make the directory anew without the entities; delete them from a server.

        milvus-lite's ``compact`` says that it succeeded and does nothing.
        """
        chosen = going(self.name, doomed, self._config.subject_field)
        path = self._config.path
        if path is None:
            return self._erase_from_server(chosen)
        how = Remaking(
            live=path,
            thing=self._thing(),
            reading=self.reading_records,
            making=MilvusImporter(self._ports).target,
        )
        return erase_by_remaking(how, chosen, scratch)

    def _erase_from_server(self, chosen: Going) -> Erased:
        with self._server() as points:
            ids = ids_going(points, chosen)
            for name, some in ids.items():
                points.forget(name, some)
        pending = "the server keeps deleted entities until it compacts and collects garbage; to be "
        pending += "sure, make the collection anew and drop this one"
        deleted = {name: len(some) for name, some in ids.items()}
        return Erased(deleted, ("deleted by the server",), (pending,))

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look through every entity, every byte of the directory, and what its Parquet files hold.

        They are compressed, and hold deleted entities until they are replaced.
        """
        search = ResidueSearch(wanted, control)
        with self.reading_records(scratch) as view:
            search.points(view)
        path = self._config.path
        if path is None:
            search.unread("its files are the server's, and not looked at")
            return search.report()
        search.tree(path)
        for file in sorted(path.rglob("*.parquet")):
            search.given(file.relative_to(path).as_posix(), parquet_points(file), layer="files")
        return search.report()

    @contextmanager
    def _server(self) -> Iterator[MilvusPoints]:
        with open_milvus(
            self._ports.runner, self._url, self._token(), self._config.database
        ) as client:
            yield MilvusPoints(client, at_one_moment=False)

    def _token(self) -> Secret | None:
        reference = self._config.token
        return self._ports.secrets.resolve(reference) if reference is not None else None

    def _thing(self) -> str:
        return f"Milvus {self.location()}"


class _OpenMilvus:
    """A Milvus that answers (an ``OpenStore``)."""

    def __init__(self, points: MilvusPoints, sample: int) -> None:
        self._points = points
        self._sample = sample

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count, settings and samples."""
        return self._points.describe(self._sample)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest entities."""
        return self._points.search(collection, vector, k)


def _names_in(root: Path) -> tuple[str, ...]:
    """Return the collections of a directory: each says its name in its own file."""
    found = []
    for path in sorted((root / _COLLECTIONS).glob("*/schema.json")):
        try:
            found.append(str(json.loads(path.read_text(encoding="utf-8"))["collection_name"]))
        except (OSError, ValueError, KeyError, TypeError):
            found.append(path.parent.name)
    return tuple(found)


def _package() -> dict[str, str]:
    try:
        return {"milvus-lite": version("milvus-lite")}
    except PackageNotFoundError:
        return {}
