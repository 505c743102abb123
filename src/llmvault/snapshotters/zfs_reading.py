"""What zfslib tells of pools: the only place that uses it.

zfslib runs ``zfs`` without a time limit, and a bookmark of a pool or a snapshot named like a
dataset makes it fail as a whole. So it is given listings of filesystems and volumes alone, made by
our own runner; what it makes of them is what is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Runner
from llmvault.snapshotters.commands import succeed

ENCRYPTION = ("encryption", "keystatus", "keyformat", "encryptionroot")
COLUMNS = ("name", "creation", "mountpoint", "mounted", "canmount", *ENCRYPTION)
# what zfslib asks of `zpool list`
POOL_COLUMNS = (
    "name", "size", "allocated", "free", "checkpoint", "fragmentation", "capacity", "health",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dataset:
    """One filesystem or volume.

    Attributes:
        mountpoint: where it belongs; None when it has no place of its own.
        encryption: ``encryption``, ``keystatus``, ``keyformat``, ``encryptionroot`` as ZFS says
            them; what ZFS leaves out is left out.
    """

    name: str
    mountpoint: Path | None
    mounted: bool
    can_mount: bool
    encryption: Mapping[str, str]


def read_datasets(runner: Runner, pools: Iterable[str]) -> dict[str, Dataset]:
    """Return name -> dataset of all filesystems and volumes of pools.

    Raises:
        UnavailableError: when ZFS or zfslib does not answer.
    """
    names = sorted(pools)
    listed = succeed(
        runner, "ZFS", "zfs", "list", "-Hpr", "-o", ",".join(COLUMNS), "-t", "filesystem,volume",
        *names,
    )  # fmt: skip
    pooled = succeed(runner, "ZFS", "zpool", "list", "-Hp", "-o", ",".join(POOL_COLUMNS), *names)
    return parse_datasets(listed, pooled)


def parse_datasets(listed: str, pooled: str) -> dict[str, Dataset]:
    """Return name -> dataset of the two listings.

    Raises:
        UnavailableError: when zfslib is missing or does not understand them.
    """
    try:
        from zfslib import Connection
    except ImportError as error:
        raise UnavailableError(
            "zfslib", "is not installed", "install it: pip install 'llmvault[zfs]'"
        ) from error
    try:
        pools = Connection().load_poolset(
            zfs_props=list(COLUMNS), _test_data_zfs=listed, _test_data_zpool=pooled
        )
        items = [*pools, *(dataset for pool in pools for dataset in pool.get_all_datasets())]
        datasets = [_dataset(item.path, item.get_property) for item in items]
    except (AssertionError, KeyError, AttributeError, ValueError) as error:
        raise UnavailableError(
            "ZFS", f"zfslib does not understand its listing: {error}", "see: zfs list"
        ) from error
    return {dataset.name: dataset for dataset in datasets}


def _dataset(name: str, told: object) -> Dataset:
    def say(column: str) -> str:
        value = told(column) if callable(told) else None
        return "" if value is None else str(value)

    place = say("mountpoint")
    return Dataset(
        name=name,
        mountpoint=Path(place) if place.startswith("/") else None,
        mounted=say("mounted") == "yes",
        can_mount=say("canmount") != "off",
        encryption={column: say(column) for column in ENCRYPTION if say(column)},
    )
