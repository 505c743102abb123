"""Which mount holds a path."""

from __future__ import annotations

from pathlib import Path

from llmvault.snapshotters.mounts import mount_of, mounts_below, parse_mounts, read_mounts

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:50 / /tank rw,xattr,noacl - zfs tank rw
41 40 0:51 / /tank/srv rw shared:1 master:2 - zfs tank/srv rw
42 41 0:52 /@data /tank/srv/with\040blank rw - btrfs /dev/mapper/vg-a\134b rw
43 41 0:53 / /tank/srv/over rw - tmpfs tmpfs rw
44 41 0:54 / /tank/srv/over rw - ext4 /dev/vdb rw
"""


def test_a_table_is_parsed() -> None:
    mounts = parse_mounts(TABLE)
    assert [mount.kind for mount in mounts] == [
        "proc",
        "ext4",
        "zfs",
        "zfs",
        "btrfs",
        "tmpfs",
        "ext4",
    ]
    odd = mounts[4]
    assert (odd.point, odd.root, odd.device) == (
        Path("/tank/srv/with blank"),
        "/@data",
        "/dev/mapper/vg-a\\b",
    )


def test_the_longest_mount_point_holds_a_path() -> None:
    mounts = parse_mounts(TABLE)
    assert mount_of(Path("/tank/srv/models/a"), mounts).device == "tank/srv"
    assert mount_of(Path("/tank/srv2"), mounts).device == "tank"
    assert mount_of(Path("/srv"), mounts).device == "/dev/vda"


def test_of_several_mounts_on_one_point_the_last_is_seen() -> None:
    assert mount_of(Path("/tank/srv/over/x"), parse_mounts(TABLE)).kind == "ext4"


def test_what_is_mounted_below() -> None:
    below = mounts_below(Path("/tank/srv"), parse_mounts(TABLE))
    assert [(mount.point.name, mount.kind) for mount in below] == [
        ("over", "ext4"),
        ("with blank", "btrfs"),
    ]


def test_this_machines_own_table_can_be_read() -> None:
    assert mount_of(Path("/proc/self"), read_mounts()).kind == "proc"
