"""What ``zfs list`` tells of datasets and of their snapshots; never of keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Runner
from llmvault.sources.zfs_stream.commands import attempt, failure, says_absent, succeed

# keylocation is left out: it tells where a key lies
ENCRYPTION = ("encryption", "keystatus", "keyformat", "encryptionroot")
_DATASET = ("name", "guid", "type", *ENCRYPTION)
_SIZES = ("written", "referenced", "logicalreferenced")
_SNAPSHOT = ("name", "guid", "createtxg", "creation", "compressratio", *_SIZES)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A filesystem or volume.

    Attributes:
        guid: 64 bits, as decimal text.
        encryption: what ZFS says; without ``keystatus`` where nothing is encrypted.
    """

    name: str
    guid: str
    type: str
    encryption: Mapping[str, str]

    @property
    def encrypted(self) -> bool:
        """Whether it is."""
        return self.encryption.get("encryption", "off") != "off"

    @property
    def locked(self) -> bool:
        """Whether its key is not loaded."""
        return self.encryption.get("keystatus") == "unavailable"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of one dataset.

    Attributes:
        facts: ``createtxg``, ``creation`` (seconds), ``compressratio`` as text; ``written``,
            ``referenced``, ``logicalreferenced`` in bytes.
    """

    dataset: str
    name: str
    guid: str
    facts: Mapping[str, Any]


def read_datasets(runner: Runner, name: str, *, recursive: bool) -> tuple[Dataset, ...]:
    """Return a dataset and, if asked for, those below it.

    Raises:
        UnavailableError: when it does not exist or ZFS does not answer.
    """
    depth = ("-r",) if recursive else ()
    argv = ("zfs", "list", "-Hp", *depth, "-t", "filesystem,volume", "-o", ",".join(_DATASET), name)
    done = attempt(runner, *argv)
    if done.exit_code != 0 and says_absent(done.stderr):
        raise UnavailableError(
            f"dataset {name}", "it does not exist", "import its pool, or correct `dataset`"
        )
    if done.exit_code != 0:
        raise failure(f"dataset {name}", argv, done.exit_code, done.stderr.splitlines())
    return tuple(_dataset(row) for row in _rows(done.stdout, _DATASET))


def read_snapshots(
    runner: Runner, dataset: str, name: str, *, recursive: bool
) -> tuple[Snapshot, ...]:
    """Return the snapshots of one name, of a dataset and, if asked for, of those below it.

    Raises:
        UnavailableError: when there is none.
    """
    what = ("-r", dataset) if recursive else (f"{dataset}@{name}",)
    printed = succeed(
        runner, f"snapshot {dataset}@{name}",
        "zfs", "list", "-Hp", "-t", "snapshot", "-o", ",".join(_SNAPSHOT), *what,
    )  # fmt: skip
    rows = _rows(printed, _SNAPSHOT)
    return tuple(_snapshot(row) for row in rows if row["name"].partition("@")[2] == name)


def guid_of(runner: Runner, name: str) -> str:
    """Return the guid of a dataset or snapshot; empty when it does not exist.

    Raises:
        UnavailableError: when ZFS does not answer.
    """
    argv = ("zfs", "get", "-Hp", "-o", "value", "guid", name)
    done = attempt(runner, *argv)
    if done.exit_code == 0:
        return done.stdout.strip()
    if says_absent(done.stderr):
        return ""
    raise failure(name, argv, done.exit_code, done.stderr.splitlines())


def _rows(printed: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    rows = [line.split("\t") for line in printed.splitlines() if line]
    if any(len(row) != len(columns) for row in rows):
        raise UnavailableError("ZFS", "its listing is not understood", "see: zfs list -Hp")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _dataset(row: Mapping[str, str]) -> Dataset:
    encryption = {column: row[column] for column in ENCRYPTION if row[column] not in ("-", "none")}
    return Dataset(row["name"], row["guid"], row["type"], encryption)


def _snapshot(row: Mapping[str, str]) -> Snapshot:
    sizes = {column: int(row[column]) for column in _SIZES if row[column].isdigit()}
    told = {column: row[column] for column in ("createtxg", "creation", "compressratio")}
    dataset, _, name = row["name"].partition("@")
    return Snapshot(dataset, name, row["guid"], {**told, **sizes})
