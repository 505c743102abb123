"""Sources in memory of what a policy would declare: a folder, and a stream of bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from llmvault.core.errors import UnavailableError
from llmvault.core.files import list_tree, sha256_file
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    Finding,
    ModelFacts,
    Observation,
    OpenStore,
    StreamCapture,
    TreeCapture,
)
from tests.fakes.store import FakeStore

STREAM = "dump.bin"


def _nothing() -> None:
    """Happen."""


@dataclass
class FolderSource:
    """A folder, read in place.

    Attributes:
        paths, exclude, known_sha256: as of a :class:`TreeCapture`.
        findings, models, collections: what an observation tells beside the files.
        during: called within the capture, before the reader gets it.
        after: called within the capture, after the reader is done.
    """

    kind: ClassVar[str] = "fake_folder"

    name: str
    path: Path
    paths: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    known_sha256: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    collections: tuple[CollectionFacts, ...] = ()
    during: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing

    def location(self) -> str:
        """Return the folder."""
        return str(self.path)

    def observe(self) -> Observation:
        """Count the files that can be listed."""
        if not self.path.is_dir():
            raise UnavailableError(f'source "{self.name}"', f"{self.path} is no directory")
        return Observation(
            findings=self.findings,
            models=self.models,
            collections=self.collections,
            versions={"folder": "1"},
            details={"files": len(_files(self.path))},
        )

    def place(self) -> Path:
        """Return the folder."""
        return self.path

    def seen_at(self, place: Path) -> FolderSource:
        """Return the same source at another place."""
        return replace(self, path=place)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the folder."""
        self.observe()
        self.during()
        yield TreeCapture(self.path, self.paths, self.exclude, self.known_sha256)
        self.after()

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Compare the number of files."""
        wanted, found = recorded.details.get("files"), len(_files(restored))
        if wanted is None:
            return (Check("structure", self.name, Verdict.UNPROVEN, "nothing was recorded"),)
        verdict = Verdict.PROVEN if found == wanted else Verdict.FAILED
        return (Check("structure", self.name, verdict, f"{found} files, were {wanted}"),)

    def model_path(self, root: Path, model: str) -> Path:
        """Return a file or folder below the root."""
        path = root / model
        if not path.exists():
            raise UnavailableError(f'model "{model}"', f"is not in {root}")
        return path


@dataclass
class StoreSource(FolderSource):
    """A folder whose content a store in memory searches.

    Attributes:
        store: what answers, live and restored.
        opened: how often it was opened.
    """

    kind: ClassVar[str] = "fake_store"

    store: FakeStore = field(default_factory=lambda: FakeStore({}))
    opened: int = 0

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the store."""
        self.opened += 1
        yield self.store

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Open the store as if it had been restored."""
        self.opened += 1
        yield self.store


@dataclass
class StreamSource:
    """Bytes that come in pieces.

    Attributes:
        chunks: the pieces; a callable among them is called when its turn comes, and may raise.
        loaded: addresses that restored files were loaded into.
    """

    kind: ClassVar[str] = "fake_stream"

    name: str
    chunks: Sequence[bytes | Callable[[], None]]
    collections: tuple[CollectionFacts, ...] = ()
    loaded: list[str] = field(default_factory=list)

    def location(self) -> str:
        """Return an address."""
        return f"stream://{self.name}"

    def observe(self) -> Observation:
        """Tell the digest of all bytes; a source without any is not there."""
        if not self.chunks:
            raise UnavailableError(f'source "{self.name}"', "nobody sends anything")
        content = b"".join(chunk for chunk in self.chunks if isinstance(chunk, bytes))
        sha256 = hashlib.sha256(content).hexdigest()
        return Observation(collections=self.collections, details={"sha256": sha256})

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the bytes."""
        self.observe()
        yield StreamCapture(STREAM, self._produce())

    def _produce(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, bytes):
                yield chunk
            else:
                chunk()

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Compare the digest."""
        wanted, file = recorded.details.get("sha256"), restored / STREAM
        if wanted is None or not file.is_file():
            return (Check("archive", self.name, Verdict.UNPROVEN, "nothing to compare"),)
        verdict = Verdict.PROVEN if sha256_file(file) == wanted else Verdict.FAILED
        return (Check("archive", self.name, verdict, "its digest was compared"),)

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Remember the address."""
        self.loaded.append(address)
        return self.collections


def _files(root: Path) -> list[str]:
    listed = list_tree(root, on_error=lambda path, error: None)
    return [entry.path for entry in listed if entry.kind == "file"]
