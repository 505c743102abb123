"""Snapshot volumes of LVM, mounted read-only.

A snapshot volume keeps what the origin overwrites; it gets a tenth of the origin's size from the
volume group, and is of no use once that is full, which is looked at before it is destroyed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

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
from llmvault.snapshotters.mounts import Mount

_SIZE = "10%ORIGIN"
_DEVICES = ("/dev/mapper/", "/dev/dm-")
# two filesystems with one UUID are refused by XFS unless it is told
_OPTIONS = {"xfs": "ro,nouuid"}
_COLUMNS = "vg_name,lv_name,lv_uuid,lv_attr,origin,data_percent,lv_size,vg_free"


class LvmSnapshotter:
    """Takes snapshots with ``lvcreate --snapshot``."""

    kind: ClassVar[str] = "lvm"

    def __init__(self, ports: SnapshotterPorts) -> None:
        self._runner = ports.runner

    def claims(self, mount: Mount) -> str:
        """Claim a mounted logical volume whose group has room for a snapshot."""
        if not _is_mapped(mount.device):
            return f"{mount.point} is on {mount.device}, which is no logical volume"
        try:
            volume = self._volume(mount.device)
        except UnavailableError as error:
            return error.cause
        if int(volume["vg_free"]) * 10 < int(volume["lv_size"]):
            return f"volume group {volume['vg_name']} has no room for a snapshot"
        return ""

    def top(self, root: Path, mount: Mount) -> Path:
        """Return the mount point of the logical volume.

        Raises:
            UnavailableError: when it is none, or only a part of it is mounted there.
        """
        thing = f"snapshot of {root}"
        if mount.root != "/":
            raise UnavailableError(
                thing, f"{mount.point} shows only a part of its filesystem", "mount all of it"
            )
        if not _is_mapped(mount.device):
            raise UnavailableError(
                thing,
                f"{mount.point} is on {mount.device}, which is no logical volume",
                "correct `snapshot:` in the policy",
            )
        return mount.point

    def take(self, volumes: Sequence[Volume], making: Making) -> Taken:
        """Take and mount one snapshot volume after the other."""
        return Taken(
            tuple(self._take(volume, making, number) for number, volume in enumerate(volumes))
        )

    def spoiled(self, handle: str) -> str:
        """Return that a snapshot volume ran full, if it did; one that is gone tells nothing."""
        found = attempt(self._runner, *_ask(handle))
        if found.exit_code != 0:
            return ""
        volume = _first(handle, found.stdout)
        # the fifth attribute is "I" for an invalid snapshot: it ran full (lvs(8))
        if volume["lv_attr"][4:5] == "I" or float(volume["data_percent"] or 0) >= 100:
            return f"snapshot volume {handle} ran full while it was read"
        return ""

    def destroy(self, handle: str) -> None:
        """Unmount and remove a snapshot volume; never anything that is not a snapshot."""
        group, _, name = handle.partition("/")
        refuse_foreign(handle, name)
        thing = f"snapshot {handle}"
        found = attempt(self._runner, *_ask(handle))
        if found.exit_code != 0:
            if "not found" in found.stderr.lower() or "failed to find" in found.stderr.lower():
                return
            raise failure(thing, found)
        volume = _first(thing, found.stdout)
        if not volume["origin"]:
            raise UnavailableError(
                thing, "it is no snapshot of a volume", f"look at it: lvs {group}"
            )
        succeed(self._runner, thing, "lvremove", "--yes", handle)

    def _take(self, volume: Volume, making: Making, number: int) -> Part:
        thing = f"snapshot of {volume.top}"
        origin = self._volume(volume.mount.device)
        name = f"{making.name}-{number}"
        handle = f"{origin['vg_name']}/{name}"
        place = making.place / name
        place.mkdir(mode=0o700)
        making.intend(handle)
        succeed(
            self._runner, thing, "lvcreate", "--snapshot", "--name", name, "--extents", _SIZE,
            f"{origin['vg_name']}/{origin['lv_name']}",
        )  # fmt: skip
        options = _OPTIONS.get(volume.mount.kind, "ro")
        device = f"/dev/{handle}"
        mount = ("mount", "-t", volume.mount.kind, "-o", options, device, os.fspath(place))
        succeed(self._runner, thing, *mount)
        facts = {"snapshot": handle, "origin": origin["lv_name"], "origin_uuid": origin["lv_uuid"]}
        return Part(volume.top, place, facts)

    def _volume(self, device: str) -> dict[str, str]:
        return _first(device, succeed(self._runner, f"logical volume {device}", *_ask(device)))


def _is_mapped(device: str) -> bool:
    return device.startswith(_DEVICES)


def _ask(volume: str) -> tuple[str, ...]:
    report = ("--noheadings", "--separator", "|", "--units", "b", "--nosuffix")
    return ("lvs", *report, "--options", _COLUMNS, volume)


def _first(thing: str, text: str) -> dict[str, str]:
    columns, values = _COLUMNS.split(","), text.strip().split("|")
    if len(values) != len(columns):
        raise UnavailableError(thing, "lvs told nothing of it", f"see: lvs {thing}")
    return dict(zip(columns, values, strict=True))
