"""Pools for tests of streams: a real one where the kernel has ZFS, and one of our fake program."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.fakes import zfs_program
from tests.filesystems import run, zpool

POOL = "llmvaultstream"


class Pool(Protocol):
    """A pool in which a test makes datasets, writes to them, and looks at what is there."""

    environment: Mapping[str, str]
    real: bool

    def zfs(self, *arguments: str) -> str:
        """Run ``zfs``, which must succeed."""

    def create(self, name: str, *, encrypted: bool = False) -> None:
        """Make a dataset."""

    def write(self, name: str, content: str) -> None:
        """Replace what a dataset holds."""

    def read(self, name: str) -> str:
        """Return what a dataset holds, opened with the key of the encrypted ones."""

    def lock(self, name: str) -> None:
        """Unload the key of an encrypted dataset."""

    def snapshots(self) -> dict[str, str]:
        """Return handle -> guid of all snapshots of the pool."""

    def pools(self) -> list[str]:
        """Return the names of all pools."""


@dataclass
class RealPool:
    """A pool on a file."""

    place: Path
    real: bool = True
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": os.environ["PATH"]})

    def zfs(self, *arguments: str) -> str:
        return run("zfs", *arguments)

    def create(self, name: str, *, encrypted: bool = False) -> None:
        key = self.place.parent / "key"
        key.write_bytes(b"k" * 32)
        options = ("encryption=on", "keyformat=raw", f"keylocation=file://{key}")
        given = [word for option in options for word in ("-o", option)] if encrypted else []
        run("zfs", "create", *given, name)

    def _file(self, name: str) -> Path:
        return Path(run("zfs", "get", "-Hp", "-o", "value", "mountpoint", name)) / "content"

    def write(self, name: str, content: str) -> None:
        self._file(name).write_text(content)

    def read(self, name: str) -> str:
        if run("zfs", "get", "-Hp", "-o", "value", "keystatus", name) == "unavailable":
            key = self.place.parent / "key"
            run("zfs", "load-key", "-L", f"file://{key}", name)
        if run("zfs", "get", "-Hp", "-o", "value", "mounted", name) == "no":
            run("zfs", "mount", name)
        return self._file(name).read_text()

    def lock(self, name: str) -> None:
        run("zfs", "unmount", name)
        run("zfs", "unload-key", name)

    def snapshots(self) -> dict[str, str]:
        printed = run("zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "name,guid", POOL)
        return dict(line.split("\t") for line in printed.splitlines())

    def pools(self) -> list[str]:
        return run("zpool", "list", "-H", "-o", "name").splitlines()


@dataclass
class FakePool:
    """A pool of :mod:`tests.fakes.zfs_program`."""

    environment: Mapping[str, str]
    real: bool = False

    @property
    def state(self) -> zfs_program.State:
        found: zfs_program.State = json.loads(Path(self.environment["FAKE_ZFS"]).read_text())
        return found

    def change(self, **broken: str) -> None:
        """Make commands fail with what they then say."""
        self._store({**self.state, "broken": broken})

    def _store(self, state: Mapping[str, Any]) -> None:
        Path(self.environment["FAKE_ZFS"]).write_text(json.dumps(state))

    def zfs(self, *arguments: str) -> str:
        done = subprocess.run(
            ("zfs", *arguments),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def create(self, name: str, *, encrypted: bool = False) -> None:
        facts = {
            "encryption": "aes-256-gcm",
            "keystatus": "available",
            "keyformat": "raw",
            "encryptionroot": name,
        }
        state = self.state
        zfs_program.add(state, name, **(facts if encrypted else {}))
        self._store(state)

    def write(self, name: str, content: str) -> None:
        state = self.state
        state["datasets"][name]["content"] = content
        self._store(state)

    def read(self, name: str) -> str:
        content: str = self.state["datasets"][name]["content"]
        return content

    def lock(self, name: str) -> None:
        state = self.state
        state["datasets"][name]["facts"]["keystatus"] = "unavailable"
        self._store(state)

    def snapshots(self) -> dict[str, str]:
        return {
            f"{dataset}@{name}": one["guid"]
            for dataset, found in self.state["datasets"].items()
            for name, one in found["snapshots"].items()
        }

    def pools(self) -> list[str]:
        return [name for name in self.state["datasets"] if "/" not in name]


@contextmanager
def real_pool(directory: Path) -> Iterator[RealPool]:
    """Make a pool on a file; skips where the kernel has no ZFS."""
    with zpool(directory, POOL, size_mib=256) as point:
        yield RealPool(point)


def fake_pool(directory: Path) -> FakePool:
    """Make a pool of the fake program."""
    pool = FakePool(zfs_program.install(directory / "programs"))
    pool.create(POOL)
    return pool
