"""No snapshot: files are read where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from llmvault.snapshotters.interface import (
    Making,
    Part,
    SnapshotterPorts,
    Taken,
    Volume,
    refuse_foreign,
)
from llmvault.snapshotters.mounts import Mount


class NoSnapshotter:
    """Serves every filesystem and freezes none."""

    kind: ClassVar[str] = "none"

    def __init__(self, ports: SnapshotterPorts) -> None:
        pass

    def claims(self, mount: Mount) -> str:
        """Claim every mount."""
        return ""

    def top(self, root: Path, mount: Mount) -> Path:
        """Return the root itself."""
        return root

    def take(self, volumes: Sequence[Volume], making: Making) -> Taken:
        """Return the live directories."""
        return Taken(tuple(Part(volume.top, volume.top) for volume in volumes))

    def spoiled(self, handle: str) -> str:
        """Return nothing: there is none."""
        return ""

    def destroy(self, handle: str) -> None:
        """Do nothing: there never was a snapshot."""
        refuse_foreign(handle, handle)
