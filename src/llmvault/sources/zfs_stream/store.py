"""The driver of ZFS datasets as streams."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.ids import RandomIds
from llmvault.core.units import format_size
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import ZfsStreamSource
from llmvault.sources.interface import (
    Building,
    Capture,
    CollectionFacts,
    Finding,
    Observation,
    OpenStore,
    SourcePorts,
    StreamCapture,
)
from llmvault.sources.zfs_stream.commands import output, start
from llmvault.sources.zfs_stream.datasets import (
    Dataset,
    Snapshot,
    guid_of,
    read_datasets,
    read_snapshots,
)
from llmvault.sources.zfs_stream.journal import PREFIX, Kept
from llmvault.sources.zfs_stream.receiving import (
    facts_of,
    receive_chain,
    refuse_occupied,
    scratch_pool,
)
from llmvault.sources.zfs_stream.snapshots import OwnSnapshots
from llmvault.sources.zfs_stream.streams import StreamFile, chain_in, walk

_SCHEME = "zfs:"
_DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.: -]+)*")
_NO_PLAN = Building("", "")


@dataclass(frozen=True, slots=True)
class _Base:
    """What a stream begins at.

    Attributes:
        kept: the snapshot of the recovery point before; None for a full stream.
        reason: why it is what it is, in a sentence.
        lost: whether an increment was expected and is impossible.
    """

    kept: Kept | None
    reason: str
    lost: bool = False

    @property
    def told(self) -> str:
        """What the stream holds and why."""
        if self.kept:
            return f"an increment: {self.reason}"
        return f"sent in full{', not as an increment' * self.lost}: {self.reason}"


class ZfsStream:
    """A dataset, captured by ``zfs send`` as one stream of a snapshot that is ours.

    In a run of a plan the snapshot stays, held, and the next capture sends what changed since. A
    restore brings the streams of a chain, and receives them into a dataset that did not exist.
    """

    kind: ClassVar[str] = "zfs_stream"

    def __init__(self, name: str, config: ZfsStreamSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports
        self._runner = ports.runner
        self._run = _NO_PLAN

    def location(self) -> str:
        """Return the dataset as it is named in ``--into``."""
        return f"{_SCHEME}{self._config.dataset}"

    def observe(self) -> Observation:
        """Look at the dataset: what it is, whether it is encrypted and its key loaded."""
        return self._observation(self._datasets())

    def _datasets(self) -> tuple[Dataset, ...]:
        config = self._config
        found = read_datasets(self._runner, config.dataset, recursive=config.recursive)
        thing = f"dataset {config.dataset}"
        if config.raw or not any(one.encrypted for one in found):
            return found
        if locked := next((one.name for one in found if one.locked), ""):
            raise UnavailableError(
                thing,
                f"the key of {locked} is not loaded, and a plain stream needs it",
                f"run: zfs load-key {locked}, or declare raw: true, which needs no key",
            )
        if config.recursive:
            raise RefusedError(
                thing,
                "ZFS sends encrypted datasets together only raw",
                "declare raw: true, or one source for each dataset",
            )
        return found

    def _observation(self, datasets: tuple[Dataset, ...]) -> Observation:
        details: dict[str, Any] = {
            "raw": self._config.raw,
            "recursive": self._config.recursive,
            "datasets": [
                {
                    "name": one.name,
                    "guid": one.guid,
                    "type": one.type,
                    "encryption": dict(one.encryption),
                }
                for one in datasets
            ],
        }
        return Observation(findings=self._plain(datasets), details=details)

    def _plain(self, datasets: tuple[Dataset, ...]) -> tuple[Finding, ...]:
        if self._config.raw or not any(one.encrypted for one in datasets):
            return ()
        detail = (
            "the dataset is encrypted and its stream is not (raw: false): only the repository's "
            "encryption protects it, and what is received from it is not encrypted"
        )
        return (Finding("plain-stream", "", detail, "warning"),)

    def last_point(self, plan: str) -> str:
        """Return the recovery point whose snapshot was kept for the next increment."""
        kept = self._own(plan).kept()
        return kept.recovery_point if kept else ""

    def building(self, building: Building) -> ZfsStream:
        """Return the same source as part of a run."""
        made = copy.copy(self)
        made._run = building
        return made

    def settle(self, plan: str, recovery_point: str, *, stored: bool) -> None:
        """Keep the snapshot of a stored run for the next one, and destroy all others of ours."""
        own = self._own(plan)
        handle = self._handle(recovery_point)
        guid = guid_of(self._runner, handle) if stored else ""
        if guid:
            own.keep(Kept(handle, guid, recovery_point, self._form()))
        else:
            own.sweep()

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the stream of a new snapshot; outside of a plan it is full and nothing stays."""
        run, config = self._run, self._config
        own = self._own(run.plan)
        swept = _sweep_dead(own)
        datasets = self._datasets()
        base = self._base()
        handle = self._handle(run.recovery_point or RandomIds().token())
        try:
            own.take(handle, recursive=config.recursive)
            name = handle.partition("@")[2]
            snapshots = read_snapshots(
                self._runner, config.dataset, name, recursive=config.recursive
            )
            observation = self._captured(datasets, snapshots, base, swept)
            stream = self._file(snapshots, base)
            with start(self._runner, *self._sending(handle, base)) as process:
                chunks = output(process, f"dataset {config.dataset}")
                links = run.links if base.kept else ()
                yield StreamCapture(stream.name, chunks, observation, links, base.told)
        except BaseException:
            own.discard(handle)
            raise
        if not self._stays():
            own.discard(handle)

    def _handle(self, recovery_point: str) -> str:
        return f"{self._config.dataset}@{PREFIX}{recovery_point}"

    def _own(self, plan: str) -> OwnSnapshots:
        keep = self._ports.keep
        folder = None if keep is None else keep / "zfs-streams" / (plan or "-")
        return OwnSnapshots(self._runner, folder / f"{self.name}.json" if folder else None)

    def _stays(self) -> bool:
        """Whether somebody will settle the run, and remembers it."""
        return bool(self._run.plan) and self._ports.keep is not None

    def _base(self) -> _Base:
        """Decide what the stream begins at."""
        own = self._own(self._run.plan)
        kept = own.kept() if self._stays() else None
        if kept is None or not self._config.incremental:
            asked = "the policy asks for full streams"
            first = "no snapshot of an earlier recovery point is kept"
            return _Base(None, first if self._config.incremental else asked)
        if reason := self._new_chain(kept):
            return _Base(None, reason)
        if not own.is_there(kept):
            reason = f"{kept.handle}, which the recovery point before left, is gone"
            return _Base(None, reason, lost=True)
        if not self._run.links:
            return _Base(None, self._run.reason, lost=True)
        return _Base(kept, f"what changed since {kept.recovery_point}")

    def _new_chain(self, kept: Kept) -> str:
        """Return why a new chain is begun on purpose; empty when it is not."""
        most = self._config.full_every
        if len(self._run.links) >= most:
            return f"a full one after {most}, as the policy says"
        if kept.form != self._form() or kept.handle.partition("@")[0] != self._config.dataset:
            return "the policy has changed what is sent, or how"
        return ""

    def _form(self) -> str:
        raw = "raw" if self._config.raw else "plain"
        return f"{raw} recursive" if self._config.recursive else raw

    def _file(self, snapshots: tuple[Snapshot, ...], base: _Base) -> StreamFile:
        guid = next(one.guid for one in snapshots if one.dataset == self._config.dataset)
        place = len(self._run.links) if base.kept else 0
        return StreamFile(place, base.kept.guid if base.kept else "", guid)

    def _sending(self, handle: str, base: _Base) -> tuple[str, ...]:
        """Return the command; properties travel along where ZFS can send them."""
        options = []
        if self._config.raw:
            options.append("-w")
        if self._config.recursive:
            options.append("-R")
        elif self._config.raw:
            options.append("-p")
        if base.kept:
            options += ["-i", "@" + base.kept.handle.partition("@")[2]]
        return ("zfs", "send", *options, handle)

    def _captured(
        self,
        datasets: tuple[Dataset, ...],
        snapshots: tuple[Snapshot, ...],
        base: _Base,
        swept: tuple[Finding, ...],
    ) -> Observation:
        seen = self._observation(datasets)
        findings = [*seen.findings, *swept]
        if base.lost:
            findings.append(Finding("sent-in-full", "", base.told, "warning"))
        stream = {
            "kind": "increment" if base.kept else "full",
            "reason": base.reason,
            "file": self._file(snapshots, base).name,
            "base": base.kept.recovery_point if base.kept else "",
            "snapshots": [
                {"dataset": one.dataset, "name": one.name, "guid": one.guid, **one.facts}
                for one in snapshots
            ],
        }
        return replace(
            seen,
            findings=tuple(findings),
            collections=facts_of(self._config.dataset, snapshots),
            details={**seen.details, "stream": stream},
        )

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Check that every link of the chain is there, whole, and ends where it was recorded."""
        expected = recorded.details.get("stream", {}).get("file", "")
        if not expected:
            detail = "no stream was recorded to look for"
            return (Check("streams", self.name, Verdict.UNPROVEN, detail),)
        try:
            chain = chain_in(restored)
        except IntegrityError as error:
            return (Check("streams", self.name, Verdict.FAILED, error.cause),)
        if chain[-1][0].name != expected:
            detail = f"the last stream is {chain[-1][0].name}, recorded was {expected}"
            return (Check("streams", self.name, Verdict.FAILED, detail),)
        size = format_size(sum(path.stat().st_size for path, _ in chain))
        told = f"a full stream and {len(chain) - 1} increments, {size}, each builds on the other"
        wrong, unknown = walk(self._runner, [path for path, _ in chain])
        if wrong:
            return (Check("streams", self.name, Verdict.FAILED, wrong),)
        told += (
            f"; their records were not walked: {unknown}"
            if unknown
            else "; zstream went through every record"
        )
        return (Check("streams", self.name, Verdict.PROVEN, told),)

    def by_hand(self, restored: Path, recorded: Observation) -> str:
        """Return how the streams are received with ZFS alone."""
        names = [path.name for path, _ in chain_in(restored)]
        lines = [
            f"Streams of `zfs send`, of the dataset {self._config.dataset}.",
            "Receive all of them, in this order, into a dataset that does not exist yet, as root:",
            "",
            f"cd {restored}",
            *(f"zfs receive -u -x mountpoint POOL/NEW < {name}" for name in names),
            "",
            "Then compare: zfs list -t snapshot -o name,guid -r POOL/NEW",
            *_guid_lines(recorded),
            "",
            "An encrypted dataset that was sent raw is locked. Its own key or passphrase opens it,",
            "which is in no backup: zfs load-key -L prompt POOL/NEW, then: zfs mount POOL/NEW",
        ]
        return "\n".join(lines) + "\n"

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Receive the chain into ``zfs:POOL/NAME``, which must not exist; it is not mounted.

        Raises:
            RefusedError: when it exists, or belongs to the live dataset.
            IntegrityError: when a link of the chain is missing or cut short; nothing was received.
        """
        target = address.removeprefix(_SCHEME)
        if target == address or _DATASET.fullmatch(target) is None:
            raise PolicyError(
                f"address {address}", "it names no dataset", f"write {_SCHEME}POOL/NAME"
            )
        chain = chain_in(restored)
        refuse_occupied(self._runner, target, self._config.dataset)
        return facts_of(target, receive_chain(self._runner, chain, target))

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open what the newest kept snapshot says; there is nothing to search."""
        found = self._datasets()
        names = [CollectionFacts(self._relative(one.name), count=1) for one in found]
        yield _Received(tuple(names))

    def _relative(self, dataset: str) -> str:
        return dataset.removeprefix(self._config.dataset).lstrip("/") or "."

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Receive the chain into a pool of its own on a file, which is destroyed afterwards."""
        chain = chain_in(restored)
        size = sum(path.stat().st_size for path, _ in chain)
        keep = self._ports.keep
        pools = keep / "zfs-pools" if keep is not None else None
        with scratch_pool(self._runner, scratch, RandomIds().token(), size, pools) as pool:
            target = f"{pool}/received"
            yield _Received(facts_of(target, receive_chain(self._runner, chain, target)))


@dataclass(frozen=True, slots=True)
class _Received:
    """Datasets as a store that names them and finds nothing."""

    datasets: tuple[CollectionFacts, ...]

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return the datasets with the guids of their snapshots."""
        return self.datasets

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Refuse: a dataset has no vectors.

        Raises:
            PolicyError: always.
        """
        raise PolicyError(
            f"dataset {collection}", "it holds no vectors", "search the store that lies on it"
        )


def _sweep_dead(own: OwnSnapshots) -> tuple[Finding, ...]:
    """Destroy what earlier runs left; the plan's lock is ours, so whoever made it is dead.

    What cannot be destroyed keeps nothing from being backed up, and is told each time.
    """
    try:
        swept = own.sweep()
    except VaultError as error:
        return (Finding("left-behind", "", f"{error.thing}: {error.cause}", "unproven"),)
    if not swept:
        return ()
    detail = f"an earlier run left {', '.join(swept)}: destroyed"
    return (Finding("swept", "", detail, "warning"),)


def _guid_lines(recorded: Observation) -> Iterator[str]:
    for one in recorded.details.get("stream", {}).get("snapshots", ()):
        yield f"  {one['dataset']}@{one['name']}  {one['guid']}"
