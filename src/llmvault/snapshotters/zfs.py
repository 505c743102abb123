"""Snapshots of ZFS datasets, read at ``.zfs/snapshot``, held while they are read.

Reading is zfslib's; taking, holding and destroying are the ``zfs`` command's, which zfslib lacks.
Datasets of one pool are taken by one command, at one instant. A dataset's snapshot does not hold
the datasets mounted below it; each gets a snapshot of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.snapshotters.commands import attempt, failure, succeed
from llmvault.snapshotters.interface import (
    Making,
    Part,
    SnapshotterPorts,
    Taken,
    Volume,
    refuse_foreign,
)
from llmvault.snapshotters.mounts import Mount, mounts_below
from llmvault.snapshotters.zfs_reading import Dataset, read_datasets

HOLD = "llmvault"
_ABSENT = ("does not exist", "could not find any snapshots", "no such tag")
_BUSY = "busy"
_TRIES = 20
_PAUSE = 0.5


class ZfsSnapshotter:
    """Takes snapshots with ``zfs snapshot`` and holds them with ``zfs hold``."""

    kind: ClassVar[str] = "zfs"

    def __init__(self, ports: SnapshotterPorts) -> None:
        self._runner = ports.runner
        self._clock: Clock = ports.clock
        self._mounts = ports.mounts

    def claims(self, mount: Mount) -> str:
        """Claim what is mounted as ZFS."""
        return "" if mount.kind == "zfs" else f"{mount.point} is {mount.kind}, not zfs"

    def top(self, root: Path, mount: Mount) -> Path:
        """Return the mount point of the dataset."""
        if "@" in mount.device:
            raise UnavailableError(
                f"snapshot of {root}", f"it is a snapshot already: {mount.device}", "set none"
            )
        return mount.point

    def take(self, volumes: Sequence[Volume], making: Making) -> Taken:
        """Take and hold the datasets of the volumes, and those mounted below their roots."""
        mounts = self._mounts()
        chosen = {volume.top: volume.mount for volume in volumes}
        roots = [root for volume in volumes for root in volume.roots]
        for root in roots:
            nested = (mount for mount in mounts_below(root, mounts) if mount.kind == "zfs")
            chosen |= {mount.point: mount for mount in nested if "@" not in mount.device}
        names = sorted({mount.device for mount in chosen.values()})
        known = read_datasets(self._runner, {name.split("/")[0] for name in names})
        for _, pool in groupby(names, key=lambda name: name.split("/")[0]):
            self._make([f"{name}@{making.name}" for name in pool], making)
        parts = tuple(
            Part(
                point,
                _seen_at(mount, mounts, making.name),
                self._facts(known.get(mount.device), f"{mount.device}@{making.name}"),
            )
            for point, mount in chosen.items()
        )
        return Taken(parts, _absent(roots, known.values(), chosen))

    def spoiled(self, handle: str) -> str:
        """Return nothing: it is whole as long as it exists."""
        return ""

    def destroy(self, handle: str) -> None:
        """Release our hold and destroy the snapshot; clones and others' holds keep it."""
        dataset, _, name = handle.partition("@")
        refuse_foreign(handle, name)
        if not dataset:
            return
        thing = f"snapshot {handle}"
        released = attempt(self._runner, "zfs", "release", HOLD, handle)
        if released.exit_code != 0 and not _says(released.stderr, _ABSENT):
            raise failure(thing, released)
        for tries_left in reversed(range(_TRIES)):
            done = attempt(self._runner, "zfs", "destroy", handle)
            if done.exit_code == 0 or _says(done.stderr, _ABSENT):
                return
            # a reader that was just stopped may not have let go of it yet
            if _BUSY not in done.stderr or not tries_left:
                raise failure(thing, done)
            self._clock.sleep(_PAUSE)

    def _make(self, handles: Sequence[str], making: Making) -> None:
        for handle in handles:
            making.intend(handle)
        thing = f"snapshot {', '.join(handles)}"
        succeed(self._runner, thing, "zfs", "snapshot", *handles)
        succeed(self._runner, thing, "zfs", "hold", HOLD, *handles)

    def _facts(self, dataset: Dataset | None, handle: str) -> dict[str, Any]:
        columns = "guid,createtxg,creation"
        shown = succeed(
            self._runner, f"snapshot {handle}", "zfs", "list", "-Hp", "-o", columns, handle
        )
        told = dict(zip(columns.split(","), shown.split(), strict=False))
        encryption = dataset.encryption if dataset else {}
        return {"snapshot": handle, **told, "encryption": dict(encryption)}


def _seen_at(mount: Mount, mounts: Iterable[Mount], name: str) -> Path:
    """Return where a dataset's snapshot is seen; of a part of it that is mounted, the same part."""
    whole = [one.point for one in mounts if one.device == mount.device and one.root == "/"]
    if not whole:
        raise UnavailableError(
            f"snapshot of {mount.point}",
            f"only {mount.root} of dataset {mount.device} is mounted",
            "mount the dataset itself, or set `snapshot: none`",
        )
    top = mount.point if mount.root == "/" else whole[-1]
    return top / ".zfs" / "snapshot" / name / mount.root.lstrip("/")


def _absent(
    roots: Iterable[Path], known: Iterable[Dataset], chosen: Iterable[Path]
) -> dict[Path, str]:
    """Return the datasets that belong below a root and are not mounted there."""
    missing = {}
    taken = set(chosen)
    wanted = list(roots)
    for dataset in known:
        place = dataset.mountpoint
        if place is None or dataset.mounted or place in taken or not dataset.can_mount:
            continue
        if any(place != root and place.is_relative_to(root) for root in wanted):
            locked = dataset.encryption.get("keystatus") == "unavailable"
            why = "its key is not loaded" if locked else "it is not mounted"
            missing[place] = f"dataset {dataset.name}: {why}"
    return missing


def _says(text: str, words: Iterable[str]) -> bool:
    return any(word in text for word in words)
