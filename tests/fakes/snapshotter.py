"""A snapshotter that copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from llmvault.core.clock import SystemClock
from llmvault.core.errors import UnavailableError
from llmvault.core.process import LocalRunner
from llmvault.snapshotters.interface import (
    Making,
    Part,
    SnapshotterPorts,
    Taken,
    Volume,
    refuse_foreign,
)
from llmvault.snapshotters.mounts import Mount, read_mounts


@dataclass
class FakeSnapshotter:
    """Serves one directory as if it were a filesystem.

    Attributes:
        kept: where snapshots are kept.
        broken: why no snapshot can be taken or destroyed; empty when they can.
        ran_full: what is told of every snapshot that was read.
    """

    kind: ClassVar[str] = "fake"

    live: Path
    kept: Path
    broken: str = ""
    ran_full: str = ""
    destroyed: list[str] = field(default_factory=list)

    @property
    def ports(self) -> SnapshotterPorts:
        """Ports on which the directory is a mount."""
        return SnapshotterPorts(LocalRunner(dict(os.environ)), SystemClock(), self.mounts)

    def mounts(self) -> tuple[Mount, ...]:
        """Return this machine's mounts and the directory."""
        return (*read_mounts(), Mount(self.live.resolve(), "/", "fakefs", "fake"))

    def existing(self) -> set[str]:
        """Return the names of all snapshots."""
        return {path.name for path in self.kept.glob("*")}

    def claims(self, mount: Mount) -> str:
        """Claim the directory."""
        return "" if mount.kind == "fakefs" else f"{mount.point} is {mount.kind}"

    def top(self, root: Path, mount: Mount) -> Path:
        """Return the directory."""
        return mount.point

    def take(self, volumes: Sequence[Volume], making: Making) -> Taken:
        """Copy each volume."""
        parts = []
        for volume in volumes:
            making.intend(making.name)
            if self.broken:
                raise UnavailableError(f"snapshot of {volume.top}", self.broken)
            place = self.kept / making.name
            shutil.copytree(volume.top, place, symlinks=True, copy_function=shutil.copy2)
            parts.append(Part(volume.top, place, {"snapshot": making.name}))
        return Taken(tuple(parts))

    def spoiled(self, handle: str) -> str:
        """Tell what is set."""
        return self.ran_full

    def destroy(self, handle: str) -> None:
        """Remove a copy."""
        refuse_foreign(handle, handle)
        if self.broken:
            raise UnavailableError(f"snapshot {handle}", self.broken)
        self.destroyed.append(handle)
        shutil.rmtree(self.kept / handle, ignore_errors=True)
