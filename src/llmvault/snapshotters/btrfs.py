"""Read-only snapshots of btrfs subvolumes.

A snapshot lies beside what is mounted, at ``MOUNTPOINT/.llmvault-snapshot-RUN-N``, because a
snapshot must be on the filesystem of its subvolume. It does not hold the subvolumes below: in it
they are empty directories with inode 2. Those below a root get snapshots of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from llmvault.core.errors import UnavailableError
from llmvault.snapshotters.commands import attempt, failure, succeed
from llmvault.snapshotters.interface import (
    PREFIX,
    Making,
    Part,
    SnapshotterPorts,
    Taken,
    Volume,
    refuse_foreign,
)
from llmvault.snapshotters.mounts import Mount

_SUBVOLUME = 256  # BTRFS_FIRST_FREE_OBJECTID: the inode number of every subvolume's top
_ABSENT_SUBVOLUME = 2  # BTRFS_EMPTY_SUBVOL_DIR_OBJECTID: stands in a snapshot for what is nested
_SHOWN = re.compile(r"^\s*(UUID|Parent UUID|Generation):\s+(\S+)", re.MULTILINE)


class BtrfsSnapshotter:
    """Takes snapshots with ``btrfs subvolume snapshot -r``."""

    kind: ClassVar[str] = "btrfs"

    def __init__(self, ports: SnapshotterPorts) -> None:
        self._runner = ports.runner

    def claims(self, mount: Mount) -> str:
        """Claim what is mounted as btrfs."""
        return "" if mount.kind == "btrfs" else f"{mount.point} is {mount.kind}, not btrfs"

    def top(self, root: Path, mount: Mount) -> Path:
        """Return the top of the subvolume that holds `root`.

        Raises:
            UnavailableError: when only a part of the subvolume is mounted.
        """
        for above in (root, *root.parents):
            if above.stat().st_ino == _SUBVOLUME:
                return above
            if above == mount.point:
                break
        raise UnavailableError(
            f"snapshot of {root}",
            f"{mount.point} shows only a part of its btrfs subvolume",
            "mount the whole subvolume, or set `snapshot: none`",
        )

    def take(self, volumes: Sequence[Volume], making: Making) -> Taken:
        """Take one snapshot after the other, each subvolume before those nested in its roots."""
        taking = _Taking(self, making)
        for volume in volumes:
            taking.take(volume)
        return Taken(tuple(taking.parts), taking.missing)

    def spoiled(self, handle: str) -> str:
        """Return nothing: it is whole as long as it exists."""
        return ""

    def destroy(self, handle: str) -> None:
        """Delete a snapshot; nothing below it is deleted with it."""
        place = Path(handle)
        refuse_foreign(handle, place.name)
        if not os.path.lexists(place):
            return
        done = attempt(self._runner, "btrfs", "subvolume", "delete", handle)
        if done.exit_code != 0:
            raise failure(f"snapshot {handle}", done)

    def make(self, top: Path, handle: Path) -> dict[str, Any]:
        """Make one snapshot and return what is told of it."""
        thing = f"snapshot of {top}"
        snapshot = ("btrfs", "subvolume", "snapshot", "-r", str(top), str(handle))
        succeed(self._runner, thing, *snapshot)
        shown = succeed(self._runner, thing, "btrfs", "subvolume", "show", str(handle))
        facts = {name.lower().replace(" ", "_"): value for name, value in _SHOWN.findall(shown)}
        return {"subvolume": str(top), "snapshot": str(handle), **facts}


@dataclass
class _Taking:
    """What one run has taken so far."""

    driver: BtrfsSnapshotter
    making: Making
    parts: list[Part] = field(default_factory=list)
    missing: dict[Path, str] = field(default_factory=dict)

    def take(self, volume: Volume) -> None:
        name = f".{self.making.name}-{len(self.parts)}"
        handle = volume.mount.point / name
        self.making.intend(str(handle))
        facts = self.driver.make(volume.top, handle)
        self.parts.append(Part(volume.top, handle, facts))
        for root in volume.roots:
            for inner in nested(handle / root.relative_to(volume.top)):
                self._take_nested(volume, volume.top / inner.relative_to(handle))

    def _take_nested(self, volume: Volume, top: Path) -> None:
        if any(part.top == top for part in self.parts) or top in self.missing:
            return
        if not top.is_dir() or top.stat().st_ino != _SUBVOLUME:
            self.missing[top] = "the nested subvolume vanished, or something is mounted over it"
        else:
            self.take(Volume(top, volume.mount, (top,)))


def nested(root: Path) -> Iterator[Path]:
    """Yield the directories of a snapshot that stand for nested subvolumes, ours left out."""
    for above, names, _ in os.walk(root):
        for name in names:
            place = Path(above, name)
            if place.lstat().st_ino == _ABSENT_SUBVOLUME and not name.startswith(f".{PREFIX}"):
                yield place
