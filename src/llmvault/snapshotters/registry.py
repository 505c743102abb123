"""Every snapshotter, in the order in which they are asked whether a mount is theirs."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Protocol, cast

from llmvault.core.errors import PolicyError
from llmvault.snapshotters.interface import Snapshotter, SnapshotterPorts
from llmvault.snapshotters.mounts import Mount

NONE = "none"
DRIVERS = {
    "zfs": ("llmvault.snapshotters.zfs", "ZfsSnapshotter"),
    "btrfs": ("llmvault.snapshotters.btrfs", "BtrfsSnapshotter"),
    "lvm": ("llmvault.snapshotters.lvm", "LvmSnapshotter"),
    NONE: ("llmvault.snapshotters.none", "NoSnapshotter"),
}


class _Driver(Protocol):
    def __call__(self, ports: SnapshotterPorts) -> Snapshotter: ...


def build_snapshotter(kind: str, ports: SnapshotterPorts) -> Snapshotter:
    """Return a snapshotter.

    Raises:
        PolicyError: when there is none of that kind.
    """
    if kind not in DRIVERS:
        raise PolicyError(
            f'snapshot "{kind}"', "there is no such snapshotter", f"use one of {', '.join(DRIVERS)}"
        )
    module, driver = DRIVERS[kind]
    return cast(_Driver, getattr(import_module(module), driver))(ports)


def find_snapshotter(mount: Mount, ports: SnapshotterPorts) -> Snapshotter:
    """Return the snapshotter of a mount: ``none`` where no other claims it."""
    return next(driver for driver in _all(ports) if not driver.claims(mount))


def _all(ports: SnapshotterPorts) -> Iterable[Snapshotter]:
    return (build_snapshotter(kind, ports) for kind in DRIVERS)
