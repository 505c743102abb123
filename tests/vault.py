"""Backups, restores and drills on real repositories, without policies and command lines."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmvault.backup.apply import BackupPorts, HoldsSnapshots, NoSnapshots
from llmvault.backup.crosscheck import Pairing
from llmvault.backup.model import BackupResult, SourceResult
from llmvault.backup.plan import SourceChoice
from llmvault.backup.run import BackupRequest, GoldenRecorder, run_backup
from llmvault.catalog.model import DrillEntry
from llmvault.core.clock import Clock, SystemClock
from llmvault.core.ids import RandomIds
from llmvault.core.process import LocalRunner
from llmvault.core.progress import Silent
from llmvault.core.secrets import Secret
from llmvault.drill.hosts.local import LocalHost
from llmvault.drill.model import DrillResult
from llmvault.drill.plan import DrillRequest
from llmvault.drill.run import DrillPorts, run_drill
from llmvault.drill.wiring import Wiring
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.model import Manifest
from llmvault.restic.repo import Repository
from llmvault.restore.model import RestoreRequest, RestoreResult
from llmvault.restore.records import Stores
from llmvault.restore.run import RestorePorts, run_restore
from llmvault.sources.interface import Source
from llmvault.sources.registry import DRIVERS, build_importer
from tests.contract.source import local_ports
from tests.fakes.ledger import MemoryLedger
from tests.fakes.quick_repository import PASSWORD, write_quick_repository

PLAN = "nightly"
HOST = "tests"

# Another empty repository that opens in milliseconds, with the password "test".
OTHER_PASSWORD = "test"
OTHER_IDENTITY = "f34f903b84f38b507d67ff3239ee4cac9d790c1f8afe8707a2b810ba2d629e2a"
_OTHER_CONFIG = (
    "0Ng3rq1CZEYkxj1gYOSaX0rJ8k/zh4QGSjnugFuR9wzY7pxJpswskdA8XZ6QmzgfNT96GUjs3gaPmHTCwO8mD+Rx"
    "zy96DIXvEj6nhOtqc1IbQofXQPbpphijXUEyBbNBVprQ6qe9mmCVZh2nv1aDL0zIL+QOAqSk6J/hmdMloITEcCUB"
    "iJTHa3Szyyos/EFsAyuuDrcV8z28jVU="
)
_OTHER_KEY = (
    '{"created": "2026-01-01T00:00:00Z", "username": "tests", "hostname": "tests", "kdf":'
    ' "scrypt", "N": 2, "r": 1, "p": 1, "salt": "12wmPR6GJtu8HCJKmFEi0eMKpK4tmXRT6zGfv8GQs6qe'
    'NWJRaCvofJP/iCUn2ycS0kXAMD/8ym8A1wJumNKhLg==", "data": "M45lIofTuqAgA6B1/Vorzc6rVfi6zHSe'
    "djtYmz32fRCskJlXpowGqG8/vnxiEaAyRz0RL0P+WF68Vo3zllSRw2FFmuRI2cbGp6kj/XGZWxrNB3/0Zrm/ldgQ"
    "YjwGmvWPvyfI7V0JucHDxjTDwk/JMV5MbWFbndNRVlIu9uIPje42sKwPvGdWLdmPNP+NhQ/gDJTfnXNJaac7Nv+k"
    'K5yL3w=="}'
)


def write_other_repository(place: Path) -> Path:
    """Write a repository with another id and password into a new directory."""
    write_quick_repository(place)
    shutil.rmtree(place / "keys")
    (place / "keys").mkdir()
    (place / "config").write_bytes(base64.b64decode(_OTHER_CONFIG))
    name = hashlib.sha256(_OTHER_KEY.encode()).hexdigest()
    (place / "keys" / name).write_text(_OTHER_KEY, encoding="ascii")
    return place


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would steer restic."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}


@dataclass
class Vault:
    """A state directory, repositories and sources below one directory.

    Attributes:
        environment: what restic and its like inherit.
        drills: what drills entered into the catalog, oldest first.
        snapshots: takes filesystem snapshots.
        snapshot: which one every source is to be read through.
        compression: of every source; None for what its kind asks for.
    """

    base: Path
    sources: dict[str, Source] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=clean_environment)
    clock: Clock = field(default_factory=SystemClock)
    pairings: tuple[Pairing, ...] = ()
    drills: list[DrillEntry] = field(default_factory=list)
    snapshots: HoldsSnapshots = field(default_factory=NoSnapshots)
    snapshot: str = "none"
    compression: str | None = None
    ledger: MemoryLedger = field(default_factory=MemoryLedger)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.base / "state"

    @property
    def memory(self) -> Memory:
        """What the state directory remembers."""
        return Memory(self.state)

    def place(self, name: str = "primary") -> Path:
        """Return where a repository lies."""
        return self.base / "repositories" / name

    def add_repository(self, name: str = "primary", *, password: str = PASSWORD) -> Repository:
        """Make an empty repository unless it is there, and use it under this name."""
        if not self.place(name).exists():
            write_quick_repository(self.place(name))
        self.repositories[name] = Repository(
            name=name,
            url=str(self.place(name)),
            password=Secret(password),
            binary="restic",
            cache=self.base / "cache",
            runner=LocalRunner(self.environment),
        )
        return self.repositories[name]

    def add(self, *sources: Source) -> None:
        """Protect sources; one of the same name is replaced."""
        self.sources |= {source.name: source for source in sources}

    def ports(self) -> BackupPorts:
        """Return what a backup works with."""
        return BackupPorts(
            clock=self.clock,
            runner=LocalRunner(self.environment),
            host=HOST,
            memory=self.memory,
            repositories=self.repositories,
            sources=self.sources,
            progress=Silent(),
            versions={"llmvault": "0", "restic": "0"},
            snapshots=self.snapshots,
            ledger=self.ledger,
        )

    def backup(
        self,
        *names: str,
        plan: str = PLAN,
        recorder: GoldenRecorder | None = None,
        partial: bool = False,
    ) -> tuple[BackupResult, Manifest]:
        """Take a recovery point of the named sources, or of all."""
        return run_backup(self.ports(), self.request(*names, plan=plan, partial=partial), recorder)

    def request(self, *names: str, plan: str = PLAN, partial: bool = False) -> BackupRequest:
        """Return what a backup of the named sources, or of all, is asked for."""
        chosen = [self.sources[name] for name in names or self.sources]
        return BackupRequest(
            plan=plan,
            recovery_point=RandomIds().new("rp", self.clock.now()),
            sources=tuple(
                SourceChoice(source.name, source.kind, self.compression, self.snapshot)
                for source in chosen
            ),
            pairings=self.pairings,
            rto_seconds=900.0,
            rpo_seconds=86_400.0,
            policy_digest="0" * 64,
            partial=partial,
        )

    def restore_ports(self, *, live: Mapping[str, Path] | None = None) -> RestorePorts:
        """Return what a restore works with."""
        return RestorePorts(
            clock=self.clock,
            ids=RandomIds(),
            repositories=self.repositories,
            sources=self.sources,
            live=live or {},
            memory=self.memory,
            progress=Silent(),
            stores=Stores(
                kinds=DRIVERS,
                importer=lambda kind: build_importer(kind, local_ports()),
                min_recall={},
            ),
            ledger=self.ledger,
        )

    def restore(
        self,
        target: Path,
        point: str = "latest",
        *,
        sources: Sequence[str] = (),
        into: Mapping[str, str] | None = None,
        live: Mapping[str, Path] | None = None,
    ) -> RestoreResult:
        """Bring a recovery point back."""
        request = RestoreRequest(point, target, PLAN, tuple(sources), into or {})
        return run_restore(self.restore_ports(live=live), request)

    def drill_ports(self, wiring: Wiring) -> DrillPorts:
        """Return what a drill works with."""
        return DrillPorts(
            clock=self.clock,
            ids=RandomIds(),
            host=self.scratch_host(),
            memory=self.memory,
            repositories=self.repositories,
            wiring=wiring,
            progress=Silent(),
            versions={"llmvault": "0", "restic": "0"},
            policy_digest="0" * 64,
            rto_seconds=900.0,
            rpo_seconds=86_400.0,
            scratch_free_factor=1.1,
            history=lambda: tuple(reversed(self.drills)),
            record=self.drills.append,
            ledger=self.ledger,
        )

    def drill(self, wiring: Wiring, point: str = "latest", *, record: bool = False) -> DrillResult:
        """Drill a recovery point on a scratch host of its own."""
        return run_drill(self.drill_ports(wiring), DrillRequest(PLAN, point, record))

    def scratch_host(self) -> LocalHost:
        """Return the host that drills restore to."""
        return LocalHost(self.base / "scratch", RandomIds(), {})

    def restic(
        self, *arguments: str, name: str = "primary", root: Path | None = None
    ) -> dict[str, Any]:
        """Run restic itself on a repository; return what it printed last, if that is an object."""
        repository = self.repositories[name]
        done = subprocess.run(
            ["restic", "--json", *arguments],
            env={
                **self.environment,
                "RESTIC_REPOSITORY": repository.url,
                "RESTIC_PASSWORD": repository.password.reveal(),
                "RESTIC_CACHE_DIR": str(repository.cache),
            },
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        text = done.stdout if arguments[0] == "cat" else (done.stdout.splitlines() or [""])[-1]
        told = json.loads(text) if text.startswith("{") else {}
        assert isinstance(told, dict)
        return told

    def summary(self, result: SourceResult, name: str = "primary") -> Mapping[str, int]:
        """Return restic's own figures of a source's snapshot."""
        found: Mapping[str, int] = self.restic("cat", "snapshot", result.snapshot, name=name)[
            "summary"
        ]
        return found

    def packs(self, name: str = "primary") -> list[Path]:
        """Return the pack files of a repository, the largest first."""
        files = [path for path in (self.place(name) / "data").rglob("*") if path.is_file()]
        return sorted(files, key=lambda path: path.stat().st_size, reverse=True)


def flip(path: Path, position: int, mask: int = 0xFF) -> None:
    """Flip bits of one byte of a file, whatever its mode."""
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.seek(position)
        byte = stream.read(1)[0]
        stream.seek(position)
        stream.write(bytes([byte ^ mask]))


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by relative path; return the root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
