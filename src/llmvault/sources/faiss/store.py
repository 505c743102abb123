"""The driver of directories with FAISS indexes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.verdict import Check
from llmvault.policy.sources import FaissSource
from llmvault.sources.faiss.directory import (
    carry_others,
    copy_settled,
    index_paths,
    read_id_maps,
    side_findings,
)
from llmvault.sources.faiss.importing import WORKER, FaissImporter
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
from llmvault.sources.stores.checks import compare_exactly, findings_check
from llmvault.sources.stores.erasing import Remaking, erase_by_remaking, going
from llmvault.sources.stores.files import copying, place_tree, refuse_address, refuse_place
from llmvault.sources.stores.points import ServedPoints
from llmvault.sources.stores.process import StoreProcess, store_process
from llmvault.sources.stores.residue import ResidueSearch
from llmvault.sources.stores.samples import presence_findings
from llmvault.sources.walk import existing_root


class FaissIndexes:
    """A directory with FAISS indexes, id maps and docstores, captured as one.

    An index without its id map gives numbers that mean nothing, so all files of the directory are
    copied as they were at one moment. Pickles (LangChain's ``index.pkl``) are captured, flagged and
    never loaded: loading one runs whatever code it holds.
    """

    kind: ClassVar[str] = "faiss"

    def __init__(self, name: str, config: FaissSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the path of the directory."""
        return str(self._config.path)

    def observe(self) -> Observation:
        """Load every index and look at it."""
        return self._look(existing_root(self._config.path, self.name))

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield a copy of the directory at one moment, described from that very copy."""
        live = existing_root(self._config.path, self.name)
        root = staging / "faiss"
        with copying(f"directory {live}"):
            settled = copy_settled(live, root)
        observation = self._look(root, () if settled else (_UNSETTLED,))
        yield TreeCapture(root, observation=observation)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Load the restored indexes, and compare them and their id maps with what was recorded."""
        found = self._look(restored)
        checks = compare_exactly(self.name, recorded.collections, found.collections)
        return (*findings_check(self.name, found.findings), *checks)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Load the live indexes."""
        with self._open(existing_root(self._config.path, self.name)) as store:
            yield store

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Load the restored indexes."""
        with self._open(restored) as store:
            yield store

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Copy the restored directory to a new place.

        Raises:
            RefusedError: when the directory is not empty or touches the live one.
        """
        target = refuse_address(address)
        refuse_place(target, self._config.path, directory=True)
        place_tree(restored, target)
        with self._open(target) as store:
            return store.describe()

    @contextmanager
    def reading_records(self, scratch: Path) -> Iterator[RecordsView]:
        """Open a copy of the directory as it was at one moment.

        Raises:
            UnavailableError: when it is written to all the time.
        """
        live = existing_root(self._config.path, self.name)
        root = scratch / "faiss"
        with copying(f"directory {live}"):
            settled = copy_settled(live, root)
        if not settled:
            raise UnavailableError(
                f"directory {live}", "it is written to all the time", "hold its writer"
            )
        with self._open(root) as store:
            yield ServedPoints(store, at_one_moment=True)

    def private_target(self, scratch: Path) -> AbstractContextManager[RecordsTarget]:
        """Make a fresh directory below `scratch`."""
        return FaissImporter(self._ports, self._config.path).private_target(scratch)

    def target(self, address: str) -> AbstractContextManager[RecordsTarget]:
        """Open a new directory."""
        return FaissImporter(self._ports, self._config.path).target(address)

    def erase(self, doomed: Sequence[Doomed], scratch: Path) -> Erased:
        """Make the indexes anew without the points, and their id maps and docstores.

        HNSW cannot forget a vector. Pickles, which are not read, stay as they are.
        """
        chosen = going(self.name, doomed, self._config.subject_field)
        how = Remaking(
            live=self._config.path,
            thing=f"FAISS indexes {self._config.path}",
            reading=self.reading_records,
            making=FaissImporter(self._ports).target,
            carry=carry_others,
        )
        erased = erase_by_remaking(how, chosen, scratch)
        pickles = [
            f"{one.path} is a pickle, which is not read and may name the points"
            for one in side_findings(self._config.path)
            if one.name == "pickle"
        ]
        return replace(erased, pending=(*erased.pending, *pickles))

    def probe(self, wanted: Sought, control: Sought, scratch: Path) -> ProbeReport:
        """Look through every vector, and every byte of the directory."""
        search = ResidueSearch(wanted, control)
        with self.reading_records(scratch) as view:
            search.points(view)
        search.tree(self._config.path)
        return search.report()

    def _look(self, root: Path, more: tuple[Finding, ...] = ()) -> Observation:
        """Return what is in a directory; an index that cannot be loaded is a finding."""
        try:
            with self._open(root) as store:
                seen = store.observe()
        except (IntegrityError, UnavailableError) as error:
            severity = "failed" if isinstance(error, IntegrityError) else "unproven"
            broken = Finding("index-unread", "", f"{error.thing}: {error.cause}", severity)
            seen = Observation(findings=(broken,))
        wanted = self._config.indexes
        present = {facts.name for facts in seen.collections}
        missing = () if seen.findings else presence_findings(present, wanted, noun="index")
        return Observation(
            findings=(*missing, *seen.findings, *side_findings(root), *more),
            collections=seen.collections,
            versions=_package(),
        )

    @contextmanager
    def _open(self, root: Path) -> Iterator[StoreProcess]:
        indexes = index_paths(root, self._config.indexes)
        opening = {
            "path": str(root),
            "indexes": list(indexes),
            "sample": self._config.sample,
            "ids": read_id_maps(root, self._config.id_maps),
            "id_maps": dict(self._config.id_maps),
            "docstores": dict(self._config.docstores),
        }
        thing = f"FAISS indexes {root}"
        with store_process(self._ports.runner, WORKER, thing, opening) as store:
            yield store


_UNSETTLED = Finding(
    "changed-during-capture",
    "",
    "its files were being written while they were copied; index and id map may not fit",
    "unproven",
)


def _package() -> dict[str, str]:
    try:
        return {"faiss": version("faiss-cpu")}
    except PackageNotFoundError:
        return {}
