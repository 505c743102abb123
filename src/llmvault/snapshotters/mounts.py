"""What is mounted where, as Linux tells in ``/proc/self/mountinfo`` (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount.

    Attributes:
        point: where it is seen.
        root: which directory of the filesystem is seen there; ``/`` for all of it.
        kind: the filesystem, e.g. ``btrfs``.
        device: what is mounted: a device, or the name of a ZFS dataset.
    """

    point: Path
    root: str
    kind: str
    device: str


def read_mounts() -> tuple[Mount, ...]:
    """Return what is mounted now, in the order of mounting."""
    return parse_mounts(_TABLE.read_text(encoding="utf-8", errors="surrogateescape"))


def parse_mounts(table: str) -> tuple[Mount, ...]:
    """Return the mounts of a table."""
    mounts = []
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        mounts.append(Mount(Path(_plain(fields[4])), _plain(fields[3]), rest[0], _plain(rest[1])))
    return tuple(mounts)


def mount_of(path: Path, mounts: Iterable[Mount]) -> Mount:
    """Return the mount that holds a path without symbolic links: the longest, last one."""
    holding = [mount for mount in mounts if path.is_relative_to(mount.point)]
    deepest = max(len(mount.point.parts) for mount in holding)
    return [mount for mount in holding if len(mount.point.parts) == deepest][-1]


def mounts_below(path: Path, mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Return what is mounted below a path, not on it; of several on one point the last."""
    found = {m.point: m for m in mounts if m.point != path and m.point.is_relative_to(path)}
    return tuple(found[point] for point in sorted(found))


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
