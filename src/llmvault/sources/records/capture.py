"""Records captures for any driver that gives and takes points: put before the driver's class.

    class ChromaAsRecords(RecordsCapture, ChromaStore): ...

:func:`llmvault.sources.registry.build_source` does so. What a restored capture is, its files tell,
whatever the policy says by then.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from llmvault.core.files import private_directory
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    ExportsRecords,
    ImportsRecords,
    Observation,
    OpenStore,
    RecordsTarget,
    RecordsView,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.records.checks import check_capture
from llmvault.sources.records.export import export, facts_of_view
from llmvault.sources.records.layout import is_capture
from llmvault.sources.records.load import (
    Imported,
    collection_for,
    import_capture,
    imported_facts,
    refuse_other_schema,
)
from llmvault.sources.records.reading import CapturedCollection, read_capture
from llmvault.sources.records.segments import require_pyarrow

if TYPE_CHECKING:
    from llmvault.policy.sources import StoreBase

    class _Driver:
        """What a store's driver has, for the type checker."""

        kind: str

        def __init__(self, name: str, config: StoreBase, ports: SourcePorts) -> None: ...
        def observe(self) -> Observation: ...
        def capture(self, staging: Path) -> AbstractContextManager[Capture]: ...
        def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]: ...
        def open_live(self) -> AbstractContextManager[OpenStore]: ...
        def open_restored(
            self, restored: Path, scratch: Path
        ) -> AbstractContextManager[OpenStore]: ...
        def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]: ...
else:
    _Driver = object


class RecordsCapture(_Driver):
    """A driver that captures records where its policy says ``capture: records``."""

    def __init__(self, name: str, config: StoreBase, ports: SourcePorts) -> None:
        super().__init__(name, config, ports)
        self.name = name
        self._records_config = config
        self._records_ports = ports

    def captures_records(self) -> bool:
        """Whether it captures records, by its policy or because it has nothing else."""
        chosen = self._records_config.capture
        return (chosen or getattr(self, "capture_by_default", "native")) == "records"

    def observe(self) -> Observation:
        """Look at the live store, and whether what is needed is installed."""
        if self.captures_records():
            require_pyarrow()
        return super().observe()

    def capture(self, staging: Path) -> AbstractContextManager[Capture]:
        """Yield the files of a records capture, or what the driver captures."""
        return self._captured(staging) if self.captures_records() else super().capture(staging)

    @contextmanager
    def _captured(self, staging: Path) -> Iterator[Capture]:
        config = self._records_config
        seen = self.observe()
        with self._place(staging) as root:
            scratch = staging / "scratch"
            scratch.mkdir(mode=0o700)
            with cast(ExportsRecords, self).reading_records(scratch) as view:
                exported = export(
                    view,
                    root,
                    kind=self.kind,
                    subject_field=config.subject_field,
                    sample=config.sample,
                )
            yield TreeCapture(
                root,
                observation=replace(
                    seen,
                    findings=_united(seen, exported.findings),
                    collections=exported.collections,
                    details={**seen.details, "capture": "records"},
                ),
            )

    @contextmanager
    def _place(self, staging: Path) -> Iterator[Path]:
        """Yield where the segments are: kept from run to run, unless another run is using them."""
        keep = self._records_ports.keep
        if keep is None or not self._records_config.keep_segments:
            yield _fresh(staging)
            return
        private_directory(keep)
        lock = os.open(keep / f"{self.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            yield _fresh(staging)
            return
        try:
            root = keep / self.name
            private_directory(root)
            yield root
        finally:
            os.close(lock)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Read every record of a records capture, or do as the driver does."""
        if is_capture(restored):
            return check_capture(self.name, restored, recorded)
        if recorded.details.get("capture") == "records":
            detail = "the records capture is not there"
            return (Check("records", self.name, Verdict.FAILED, detail),)
        return super().check(restored, recorded)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the live store; what is captured as records is described as records."""
        if not self.captures_records():
            with super().open_live() as store:
                yield store
            return
        with (
            TemporaryDirectory(prefix="llmvault-live-") as scratch,
            cast(ExportsRecords, self).reading_records(Path(scratch)) as view,
        ):
            yield _OpenView(view, self._records_config)

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Make a fresh private store of the records, or do as the driver does."""
        if not is_capture(restored):
            with super().open_restored(restored, scratch) as store:
                yield store
            return
        collections = read_capture(restored)
        with cast(ImportsRecords, self).private_target(scratch) as target:
            imported = import_capture(target, collections)
            refuse_other_schema(target, imported, collections)
            yield _OpenImport(target, imported, collections, self._records_config.sample)

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Load into a fresh store of the same kind."""
        if not is_capture(restored):
            return super().load(restored, address)
        collections = read_capture(restored)
        with cast(ImportsRecords, self).target(address) as target:
            imported = import_capture(target, collections)
            opened = _OpenImport(target, imported, collections, self._records_config.sample)
            return opened.describe()


def _fresh(staging: Path) -> Path:
    root = staging / "records"
    root.mkdir(mode=0o700)
    return root


def _united(seen: Observation, found: Sequence[Any]) -> tuple[Any, ...]:
    return (*seen.findings, *(one for one in found if one not in seen.findings))


@dataclass(frozen=True, slots=True)
class _OpenView:
    """A live store, described in the words of a records capture (an ``OpenStore``)."""

    view: RecordsView
    config: StoreBase

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with samples of the lowest ids; reads every point."""
        return tuple(
            facts_of_view(self.view, one, self.config.subject_field, self.config.sample)
            for one in self.view.record_sets()
        )

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first."""
        return self.view.search(collection, vector, k)


@dataclass(frozen=True, slots=True)
class _OpenImport:
    """A store made of a capture, under the names of the capture (an ``OpenStore``)."""

    target: RecordsTarget
    imported: Imported
    collections: Sequence[CapturedCollection]
    sample: int

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection that was made, with samples of the lowest ids."""
        return tuple(
            imported_facts(self.target, self.imported, one, one.lowest_ids(self.sample))
            for one in self.collections
            if one.name in self.imported.names
        )

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first."""
        return search_imported(self.target, self.imported, collection, vector, k)


def search_imported(
    target: RecordsTarget,
    imported: Imported,
    collection: str,
    vector: tuple[float, ...],
    k: int,
) -> tuple[str, ...]:
    """Search a collection of the target by its name in the capture.

    Raises:
        UnavailableError: when there is no such collection.
    """
    names: Mapping[str, str] = imported.names
    captured = collection_for(tuple(names), collection)
    if captured is None:
        return target.search(collection, vector, k)
    return target.search(names[captured] + collection.removeprefix(captured), vector, k)
