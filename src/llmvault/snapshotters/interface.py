"""What a snapshotter does: find what one snapshot of it holds, take snapshots, destroy its own.

A snapshotter implements :class:`Snapshotter`. It never destroys what it did not make: every name it
gives begins with :data:`PREFIX` and ends with the id of a run, and :meth:`Snapshotter.destroy`
refuses any other. Every driver passes ``tests/contract/snapshotter.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from llmvault.core.clock import Clock
from llmvault.core.errors import RefusedError
from llmvault.core.process import Runner
from llmvault.snapshotters.mounts import Mount

PREFIX = "llmvault-snapshot-"


@dataclass(frozen=True, slots=True)
class SnapshotterPorts:
    """What a snapshotter may use of the outside world; built as ``Driver(ports)``.

    Attributes:
        mounts: reads what is mounted now.
    """

    runner: Runner
    clock: Clock
    mounts: Callable[[], tuple[Mount, ...]]


@dataclass(frozen=True, slots=True)
class Volume:
    """What one snapshot holds: a dataset, a subvolume, a logical volume.

    Attributes:
        top: the live directory with all of it below.
        mount: where it is mounted.
        roots: live directories at or below `top` that are to be read.
    """

    top: Path
    mount: Mount
    roots: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A snapshot that was taken.

    Attributes:
        top: the live directory whose content it holds.
        path: where that content is seen.
        facts: JSON values for the manifest; no secret.
    """

    top: Path
    path: Path
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of taking snapshots.

    Attributes:
        missing: live directory below a root -> why no part holds what is in it.
    """

    parts: tuple[Part, ...]
    missing: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Making:
    """One run that takes snapshots.

    Attributes:
        name: what every snapshot of the run is called; begins with :data:`PREFIX`.
        place: a private directory of the run, for mount points.
        intend: records the handle of a snapshot durably; called before it is made.
    """

    name: str
    place: Path
    intend: Callable[[str], None]


class Snapshotter(Protocol):
    """Takes snapshots of one kind of filesystem or volume manager."""

    kind: ClassVar[str]

    def claims(self, mount: Mount) -> str:
        """Return why this driver is not the one for a mount; empty when it is.

        A mount for which it is the driver, and of which it may still fail to take a snapshot, is
        claimed: the reader must hear of that failure.
        """

    def top(self, root: Path, mount: Mount) -> Path:
        """Return the live directory that one snapshot holds and that holds `root`.

        Raises:
            UnavailableError: when no snapshot could hold it.
        """

    def take(self, volumes: Sequence[Volume], making: Making) -> Taken:
        """Take a read-only snapshot of each volume, and of what is nested in its roots.

        What was intended and then failed half-way is destroyed by the caller.

        Raises:
            UnavailableError: when one cannot be taken: no permission, no space, no such command.
        """

    def spoiled(self, handle: str) -> str:
        """Return why what was read of a snapshot cannot be relied on; empty when it can."""

    def destroy(self, handle: str) -> None:
        """Destroy a snapshot that :meth:`take` intended; one that is not there is no error.

        Raises:
            RefusedError: when the handle is not one of ours.
            UnavailableError: when it is still there afterwards.
        """


def refuse_foreign(handle: str, name: str) -> None:
    """Raise unless a name is one that a run of ours gave.

    Raises:
        RefusedError: when it is not.
    """
    if not name.removeprefix(".").startswith(PREFIX):
        raise RefusedError(
            f"snapshot {handle}",
            f"its name does not begin with {PREFIX}: it is not one of ours",
            "destroy it by hand if it is yours to destroy",
        )
