"""What a source driver does: look, capture, check what came back, and (some) answer questions.

A driver implements :class:`Source` and whichever capabilities it has; a driver without a capability
lacks the methods, and plans say so. Drivers never write to what they protect, but for
:meth:`Erases.erase`, and never import each other. Every driver passes ``tests/contract/source.py``.

The life of a capture:

1. :meth:`Source.observe` reads the live source and reports what is there and what is wrong.
2. :meth:`Source.capture` yields something restic can read, consistent until the context is left.
3. Later, in a restore or drill, :meth:`Source.check` looks at the restored files, and
   :class:`Opens` makes the restored store answer.

A driver that can read its store point by point implements :class:`ExportsRecords`, one that can
make a store of points :class:`ImportsRecords`. ``sources/records`` does the rest for all of them:
segment files, deduplication, checks, drills, and restoring one kind of store into another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from llmvault.core.clock import Clock
from llmvault.core.process import Runner
from llmvault.core.secrets import SecretResolver
from llmvault.core.verdict import Check, Verdict


@dataclass(frozen=True, slots=True)
class SourcePorts:
    """What a driver may use of the outside world; built as ``Driver(name, config, ports)``.

    Attributes:
        keep: a directory of this host in which a records capture keeps its segments from one run to
            the next; None keeps nothing.
    """

    runner: Runner
    secrets: SecretResolver
    clock: Clock
    keep: Path | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something noteworthy that was seen in a source.

    Attributes:
        name: stable machine name, e.g. ``dangling-link``, ``pickle-weights``, ``header-truncated``.
        path: the file (relative) or object it speaks of; empty for the whole source.
        detail: one sentence.
        severity: ``failed`` (the source is broken as it stands), ``unproven`` (it could not be
            read or judged), ``warning`` (worth telling; changes no verdict).
    """

    name: str
    path: str
    detail: str
    severity: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model found in a source, for cross-checks between sources.

    Attributes:
        name: repo id, or path relative to the source.
        revision: commit SHA when known.
        architecture: e.g. ``BertModel`` or ``llama``; empty when unknown.
        parameters: number of weights; 0 when unknown.
        embedding_dimension: hidden size an embedding of it would have; None when unknown.
        base_model: for an adapter, the model it belongs to.
        format: ``safetensors``, ``gguf``, ``pickle``, ``adapter``.
    """

    name: str
    format: str
    revision: str = ""
    architecture: str = ""
    parameters: int = 0
    embedding_dimension: int | None = None
    base_model: str = ""


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """One collection, table or index of a store.

    Attributes:
        count: rows or points.
        dimension: vector dimension; None when there are no vectors.
        sample_digests: record id -> SHA-256 of the record's canonical content (vector
            included), for records chosen deterministically by id order.
        sample_vectors: record id -> vector, float32 values; searched and compared in drills.
        settings: index and schema definitions, as the store states them.
    """

    name: str
    count: int
    dimension: int | None = None
    sample_digests: Mapping[str, str] = field(default_factory=dict)
    sample_vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a driver saw. Serialised into the manifest.

    Attributes:
        versions: name -> version of what serves the source, e.g. ``{"postgresql": "16.14"}``.
        details: driver-specific facts, JSON values only (e.g. safetensors inventory).
    """

    findings: tuple[Finding, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    collections: tuple[CollectionFacts, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TreeCapture:
    """Files for restic to read in place.

    Attributes:
        root: restic runs in this directory, so that snapshots do not depend on where it is.
        paths: files and links to read, relative to root; ``None`` for everything.
        exclude: fnmatch patterns on names or relative paths to leave out.
        known_sha256: relative path -> SHA-256 that the source itself vouches for (blob names).
        observation: what was captured, where that can only be known under the capture's lock;
            replaces the one of :meth:`Source.observe`.
    """

    root: Path
    paths: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    known_sha256: Mapping[str, str] = field(default_factory=dict)
    observation: Observation | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A stream that an earlier recovery point stored and later ones build on.

    Attributes:
        recovery_point: the one that stored it.
        path: its file in the restic snapshot.
        snapshots: repository name -> restic snapshot id.
    """

    recovery_point: str
    path: str
    size: int
    mode: int
    sha256: str
    snapshots: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Building:
    """What a capture may build on.

    Attributes:
        plan: the backup plan; empty outside of one.
        recovery_point: the one that is being made.
        links: what the newest stored one consists of, oldest first, all of it still in every
            repository that is written to; empty when nothing can be built on.
        reason: why `links` is empty.
    """

    plan: str
    recovery_point: str
    links: tuple[Link, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class StreamCapture:
    """One file that is produced while restic reads it.

    Attributes:
        filename: name of the file in the snapshot.
        chunks: the bytes; raises VaultError when the producer fails, so that no snapshot is made of
            a torn dump.
        observation: as for :class:`TreeCapture`.
        links: the earlier streams without which this one cannot be restored, oldest first.
        reason: what the stream holds and why, where that is not always the same.
    """

    filename: str
    chunks: Iterator[bytes]
    observation: Observation | None = None
    links: tuple[Link, ...] = ()
    reason: str = ""


Capture = TreeCapture | StreamCapture


class Source(Protocol):
    """One protected thing."""

    kind: ClassVar[str]
    name: str

    def location(self) -> str:
        """Return where the live source is: a path, or a URL without secrets."""

    def observe(self) -> Observation:
        """Look at the live source without changing it.

        Raises:
            UnavailableError: when it does not exist or cannot be reached.
            IntegrityError, RefusedError: when it must not be backed up as it stands (e.g. a pinned
                commit is absent).
        """

    def capture(self, staging: Path) -> AbstractContextManager[Capture]:
        """Yield a consistent capture; `staging` is an empty private directory for copies.

        Locks, snapshots and helper processes are released when the context is left.
        """

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Check restored files beyond their digests: headers, links, completeness.

        `restored` holds the snapshot's files. `recorded` is the observation in the manifest.
        Must return at least one check; what cannot be checked is unproven with its reason.
        """


class OpenStore(Protocol):
    """A store that answers, live or restored."""

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with counts, settings and samples."""

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first."""


@runtime_checkable
class ReadsInPlace(Protocol):
    """Capability: the source is files that are read where they lie.

    So a filesystem's snapshot of them serves as well, and shows all of them at one instant.
    """

    def place(self) -> Path:
        """Return the live directory."""

    def seen_at(self, place: Path) -> Source:
        """Return the same source with its files at another place, which shows what was there."""


@runtime_checkable
class BuildsOnEarlier(Protocol):
    """Capability: a capture may hold only what changed since an earlier one of the same plan.

    What it builds on stays in the repositories as long as it is needed, and is restored with it.
    """

    def last_point(self, plan: str) -> str:
        """Return the recovery point that the next capture can build on; empty for none."""

    def building(self, building: Building) -> Source:
        """Return the same source, captured as part of a run."""

    def settle(self, plan: str, recovery_point: str, *, stored: bool) -> None:
        """Hear that a run is over; keep what the next one needs, and remove what no one does.

        Args:
            stored: whether the capture is in a repository, and the manifest with it.

        Raises:
            VaultError: when something of ours could not be removed; the next run tries again.
        """


@runtime_checkable
class TellsByHand(Protocol):
    """Capability: restored files come with words on what to do with them without llmvault."""

    def by_hand(self, restored: Path, recorded: Observation) -> str:
        """Return a text for people; written beside the restored directory."""


@runtime_checkable
class Opens(Protocol):
    """Capability: the store can be opened, live and restored on a scratch host."""

    def open_live(self) -> AbstractContextManager[OpenStore]:
        """Open the live store for reading."""

    def open_restored(self, restored: Path, scratch: Path) -> AbstractContextManager[OpenStore]:
        """Bring the restored files up in a fresh private store below `scratch`, and open it."""


@runtime_checkable
class Loads(Protocol):
    """Capability: restored files are loaded into a fresh target given by address."""

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Load into the target and return what is there then.

        Raises:
            RefusedError: when the target is not empty or is the live source.
        """


@runtime_checkable
class LocatesModel(Protocol):
    """Capability: a model named in an engine's policy is found in restored files."""

    def model_path(self, root: Path, model: str) -> Path:
        """Return the file or directory that an engine can load.

        Raises:
            UnavailableError: when it is not there.
        """


@dataclass(frozen=True, slots=True)
class VectorField:
    """One vector that every point of a collection may have.

    Attributes:
        name: empty for the only, nameless one.
        dimension: None when points may differ, or when there are none yet.
        distance: ``l2``, ``cosine``, ``ip``, ``l1``.
        index: how the index is made, in words that every store knows: ``kind`` (``hnsw``,
            ``ivfflat``, ``flat``) and ``m``, ``ef_construction``, ``ef_search``, ``lists`` where
            they apply. Empty when there is none.
    """

    name: str = ""
    dimension: int | None = None
    distance: str = "l2"
    index: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordSet:
    """A collection, table or index without its points: what an import must build again.

    Attributes:
        name: as the store's users call it.
        kind: of the store it was read from.
        id_type: ``text``, ``integer`` or ``uuid``; ids are text all the same.
        exact: whether the store gives a vector back with the bits it was given.
        native: what the store itself states (schema, configuration); only a store of the same kind
            makes use of it. JSON values only.
    """

    name: str
    kind: str
    id_type: str = "text"
    vectors: tuple[VectorField, ...] = ()
    exact: bool = True
    native: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One record.

    Attributes:
        id: as text; unique in its collection.
        vectors: name -> float32 values, little endian, 4 bytes each. A point may lack some.
        payload: what the store keeps beside the vector; JSON values, and ``bytes``.
        document: the text it was made of, where the store has a place of its own for it.
        native: what only a store of the same kind understands; JSON values.
    """

    id: str
    vectors: Mapping[str, bytes] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    document: str | None = None
    native: Mapping[str, Any] = field(default_factory=dict)


class RecordsView(Protocol):
    """A store whose points are read."""

    at_one_moment: bool
    """Whether everything read through it is of one moment (a snapshot, a version, a lock)."""

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every collection, sorted by name."""

    def count(self, name: str) -> int:
        """Return how many points the store says there are."""

    def points(self, name: str) -> Iterator[Point]:
        """Yield every point in a stable order, in bounded memory."""

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the points that have these ids, in any order; absent ones are left out."""

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """As :meth:`OpenStore.search`."""


class RecordsTarget(RecordsView, Protocol):
    """A fresh store that points are written to.

    Leaving its context with an error leaves nothing of what was written.
    """

    def create(self, wanted: RecordSet) -> str:
        """Make a collection, with all that can be built before its points; return its name here.

        Raises:
            RefusedError: when there is one of that name already.
            UnprovenError: when this kind of store cannot hold such a collection; nothing was made.
        """

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Write points to a collection that :meth:`create` made, in bounded memory.

        Raises:
            IntegrityError: when a vector does not have the collection's dimension.
        """

    def kept_form(self, name: str, point: Point) -> Point:
        """Return how a point of another kind of store reads once it is in this collection.

        The same point, where nothing of it is lost or written differently.
        """

    def finish(self, name: str) -> None:
        """Build what is built after the points: indexes, statistics; wait until it is usable."""


@runtime_checkable
class ExportsRecords(Protocol):
    """Capability: every point of the live store can be read, vectors bit for bit."""

    def reading_records(self, scratch: Path) -> AbstractContextManager[RecordsView]:
        """Open the live store for reading; `scratch` is a private directory for copies."""


@runtime_checkable
class ImportsRecords(Protocol):
    """Capability: a store of this kind can be made of points."""

    def private_target(self, scratch: Path) -> AbstractContextManager[RecordsTarget]:
        """Make a fresh private store below `scratch`, removed when the context is left."""

    def target(self, address: str) -> AbstractContextManager[RecordsTarget]:
        """Open a fresh store at an address.

        Raises:
            RefusedError: when it is not empty or is the live source; nothing was written.
        """


@dataclass(frozen=True, slots=True)
class Doomed:
    """Points that are to be deleted; their ids and subjects show in no message.

    Attributes:
        collection: empty for every collection of the store.
        ids: of points of that collection.
        subjects: values of the source's ``subject_field``.
    """

    collection: str = ""
    ids: frozenset[str] = field(default=frozenset(), repr=False)
    subjects: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted from a live store, and what was done so that its bytes go too.

    Attributes:
        deleted: collection -> number of points that are no longer there.
        steps: what was run, in order, in words.
        pending: why bytes may still lie there (what was not permitted, what pins an old version,
            other copies that the store keeps), in words. Empty where nothing is known to.
    """

    deleted: Mapping[str, int]
    steps: tuple[str, ...]
    pending: tuple[str, ...] = ()


@runtime_checkable
class Erases(Protocol):
    """Capability: points are deleted from the live store, and then its files hold them no longer.

    That a store says so proves nothing: see :class:`ProbesResidue`.
    """

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Delete points by the store's own means, then what it takes for their bytes to go.

        Running it again is harmless. `scratch` is a private directory for copies.

        Raises:
            RefusedError: when the store is such that it cannot be done safely (another program
                has it open, a table has no key); nothing was changed.
            PolicyError: when subjects are given and the policy names no ``subject_field``.
            UnavailableError: when a collection is not there, or the store fails; what was deleted
                by then stays so.
        """


@dataclass(frozen=True, slots=True)
class Sought:
    """Values that are looked for; they show in no message.

    Attributes:
        texts: at least 6 bytes each, or a file that has them by chance would be taken for a trace.
        vectors: float32 values, little endian, as the store gives them back; at least 16 bytes.
    """

    texts: tuple[str, ...] = field(default=(), repr=False)
    vectors: tuple[bytes, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.texts or self.vectors)


@dataclass(frozen=True, slots=True)
class Trace:
    """A place where some of the values were seen.

    Attributes:
        layer: ``answers`` (the store gives them out), ``files`` (they are in the bytes of its
            files, or in what the files' own format gives when read without the store).
        where: a collection's points, or a file.
        texts, vectors: the numbers of those seen, in the order in which they were given.
    """

    layer: str
    where: str
    texts: frozenset[int]
    vectors: frozenset[int]


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Where values were seen.

    Attributes:
        found: of those that should be gone.
        seen: of the control, which is still there.
        unread: what could not be looked at, and why.
    """

    wanted: Sought
    control: Sought
    found: tuple[Trace, ...] = ()
    seen: tuple[Trace, ...] = ()
    unread: tuple[str, ...] = ()

    def judged(self) -> tuple[Verdict, str]:
        """Return whether the values are gone, with the reason."""
        if self.found:
            places = ", ".join(dict.fromkeys(one.where for one in self.found))
            return Verdict.FAILED, f"values that should be gone are in: {places}"
        if not self.wanted or not self.control:
            return Verdict.UNPROVEN, "nothing was looked for, or no control along with it"
        if self.unread:
            return Verdict.UNPROVEN, "; ".join(self.unread)
        for layer in ("answers", "files"):
            if missing := self._unseen(layer):
                detail = f"{missing} that are still there cannot be seen in its {layer} either"
                return Verdict.UNPROVEN, detail
        return Verdict.PROVEN, "neither its answers nor its files hold any of the values"

    def _unseen(self, layer: str) -> str:
        traces = [one for one in self.seen if one.layer == layer]
        texts = frozenset[int]().union(*(one.texts for one in traces))
        vectors = frozenset[int]().union(*(one.vectors for one in traces))
        # the pages of a file may cut some in two
        if 2 * len(texts) < len(self.control.texts):
            return "texts"
        if 2 * len(vectors) < len(self.control.vectors):
            return "vectors"
        return ""


@runtime_checkable
class ProbesResidue(Protocol):
    """Capability: values are looked for in what the live store answers and in its files."""

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look for values that should be gone, and for others that are still there.

        Changes nothing. `scratch` is a private directory for copies.

        Raises:
            UnavailableError: when the store cannot be read.
        """
