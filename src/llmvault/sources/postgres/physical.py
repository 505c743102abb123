"""The driver of whole PostgreSQL clusters: base backups, and WAL for a point in time."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.units import format_time, parse_time
from llmvault.core.verdict import Check, Verdict
from llmvault.policy.sources import PostgresClusterSource
from llmvault.sources.interface import (
    Capture,
    CollectionFacts,
    Finding,
    Observation,
    OpenStore,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.postgres.base_backup import (
    MANIFEST,
    VerifyCrashedError,
    file_digests,
    take_base_backup,
    verify_backup,
    wrong_files,
)
from llmvault.sources.postgres.cluster import Cluster, Recovery, running_backup
from llmvault.sources.postgres.connection import (
    Address,
    Connection,
    connected,
    parse_address,
    snapshot,
    value,
)
from llmvault.sources.postgres.facts import OpenDatabase, read_versions, server_major
from llmvault.sources.postgres.programs import Programs, find_programs

_BASE, _WAL, _ABOUT = "base", "wal", "cluster.json"
_ARCHIVED = re.compile(r"[0-9A-F]{24}(\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history")
_PAUSE_SECONDS = 0.1
_TABLESPACES = "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_' LIMIT 1"
_SUPERUSER = "SELECT rolname FROM pg_roles WHERE oid = 10"


@dataclass(frozen=True, slots=True)
class _About:
    """What a capture says of itself (``cluster.json``).

    Attributes:
        restore_point: named in the WAL after the base backup; empty when no WAL is captured.
    """

    superuser: str
    database: str
    restore_point: str = ""

    def write(self, root: Path) -> None:
        told = {
            "database": self.database,
            "restore_point": self.restore_point,
            "superuser": self.superuser,
        }
        (root / _ABOUT).write_bytes(canonical_bytes(told) + b"\n")

    @classmethod
    def read(cls, root: Path) -> _About:
        try:
            return cls(**json.loads((root / _ABOUT).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise IntegrityError(
                f"restored files {root}", "they hold no base backup", "restore the source again"
            ) from error


class PostgresCluster:
    """A whole cluster, captured by ``pg_basebackup``, with the archived WAL beside it.

    The base backup is started from a copy before it is handed out; what the named database holds
    then is what is recorded. With `wal_archive`, a restore point is written after the base backup
    and its WAL waited for, and recovering to it goes through the archive.
    """

    kind: ClassVar[str] = "postgres_cluster"

    def __init__(self, name: str, config: PostgresClusterSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports
        self._where = parse_address(config.url)

    def location(self) -> str:
        """Return the address without a password."""
        return str(self._where)

    def observe(self) -> Observation:
        """Look at the named database: exact counts, without samples."""
        with snapshot(self._address()) as connection:
            self._refuse_tablespaces(connection)
            opened = OpenDatabase(connection, sample=0)
            return Observation(
                findings=_empty(opened),
                collections=opened.describe(),
                versions=read_versions(connection),
            )

    def _refuse_tablespaces(self, connection: Connection) -> None:
        if (space := value(connection, _TABLESPACES)) is not None:
            raise RefusedError(
                f"cluster {self._where}",
                f"it has a tablespace of its own, {space}, which lies outside of its directory",
                "capture its databases with kind: postgres",
            )

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield a base backup that was started once, and the archived WAL up to its end."""
        root = staging / "cluster"
        root.mkdir(mode=0o700)
        address = self._address()
        findings: list[Finding] = []
        with connected(address) as connection:
            self._refuse_tablespaces(connection)
            programs = self._programs("pg_basebackup", at_least=server_major(connection))
            about = _About(
                superuser=str(value(connection, _SUPERUSER)),
                database=str(value(connection, "SELECT current_database()")),
            )
            take_base_backup(self._ports.runner, programs, address, root / _BASE)
            if self._config.wal_archive is not None:
                point = self._archive(connection, self._config.wal_archive, root, findings)
                about = _About(about.superuser, about.database, point)
        about.write(root)
        findings.extend(self._verified(programs, root / _BASE))
        observation = self._prove(root, staging, findings)
        known = {f"{_BASE}/{path}": digest for path, digest in file_digests(root / _BASE).items()}
        yield TreeCapture(root, known_sha256=known, observation=observation)

    def _archive(
        self, connection: Connection, archive: Path, root: Path, findings: list[Finding]
    ) -> str:
        """Have the WAL up to now archived and copy the archive; return the restore point in it."""
        name = f"llmvault {format_time(self._ports.clock.now())}"
        lsn = connection.execute("SELECT pg_create_restore_point(%s)", (name,)).fetchone()
        last = connection.execute("SELECT pg_walfile_name(%s)", lsn).fetchone()
        connection.execute("SELECT pg_switch_wal()")
        wanted = str(last[0]) if last else ""
        clock = self._ports.clock
        give_up = clock.monotonic() + self._config.archive_timeout.total_seconds()
        while not (archive / wanted).is_file():
            if clock.monotonic() > give_up:
                detail = (
                    f"{wanted} did not come into {archive}: look at archive_mode and "
                    "archive_command, and at pg_stat_archiver"
                )
                findings.append(Finding("wal-not-archived", wanted, detail, "unproven"))
                return ""
            clock.sleep(_PAUSE_SECONDS)
        _copy_archive(archive, root / _WAL)
        return name

    def _verified(self, programs: Programs, base: Path) -> Iterator[Finding]:
        try:
            verify_backup(self._ports.runner, programs, base)
        except VerifyCrashedError as error:
            yield Finding("pg-verifybackup", "", f"{error}; llmvault verified the files", "warning")
            for path in wrong_files(base)[:3]:
                yield Finding("pg-verifybackup", path, "it is not as in backup_manifest", "failed")
        except IntegrityError as error:
            yield Finding("pg-verifybackup", "", error.cause, "failed")

    def _prove(self, root: Path, staging: Path, findings: list[Finding]) -> Observation:
        """Start a copy of the backup, and record what it holds."""
        collections: tuple[CollectionFacts, ...] = ()
        versions: Mapping[str, str] = {}
        place = staging / "probe"
        place.mkdir(mode=0o700)
        try:
            with (
                self._started(root, place) as (cluster, about),
                snapshot(cluster.address(about.database, about.superuser)) as connection,
            ):
                opened = OpenDatabase(connection, sample=self._config.sample)
                findings.extend(_empty(opened))
                collections = opened.describe()
                versions = read_versions(connection)
        except IntegrityError as error:
            findings.append(Finding("cannot-start", "", error.cause, "failed"))
        details: dict[str, Any] = {"wal": (root / _WAL).is_dir()}
        return Observation(
            findings=tuple(findings), collections=collections, versions=versions, details=details
        )

    @contextmanager
    def _started(
        self, root: Path, scratch: Path, *, until: datetime | None = None, wal: Path | None = None
    ) -> Iterator[tuple[Cluster, _About]]:
        about = _About.read(root)
        ports = self._ports
        major = (root / _BASE / "PG_VERSION").read_text().strip()
        programs = self._programs("postgres", at_least=int(major))
        if str(programs.major) != major:
            raise UnavailableError(
                f"PostgreSQL {programs.version}",
                f"the base backup is of PostgreSQL {major}, and only the same can start it",
                "name the directory of its programs as `binaries` of the source",
            )
        archive = wal or (root / _WAL if (root / _WAL).is_dir() else None)
        recovery = None
        if archive is not None:
            point = about.restore_point if until is None else ""
            # no abbreviation such as Z: the server that parses it may know none
            time = f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00" if until else ""
            recovery = Recovery(archive, point, time)
        with running_backup(
            programs, root / _BASE, scratch, (ports.runner, ports.clock), recovery, about.superuser
        ) as cluster:
            yield cluster, about

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Run ``pg_verifybackup``, and look for the WAL that was captured."""
        base = restored / _BASE
        if not (base / MANIFEST).is_file():
            detail = f"{_BASE}/{MANIFEST} is not there"
            return (Check("base-backup", self.name, Verdict.FAILED, detail),)
        checks = [self._base_check(base)]
        if not recorded.collections:
            detail = "nothing was recorded to compare with"
            checks.append(Check("collections", self.name, Verdict.UNPROVEN, detail))
        if recorded.details.get("wal"):
            checks.append(self._wal_check(restored / _WAL))
        return tuple(checks)

    def _base_check(self, base: Path) -> Check:
        try:
            verify_backup(self._ports.runner, self._programs("pg_basebackup"), base)
            detail = "pg_verifybackup: backup successfully verified"
        except VerifyCrashedError as error:
            if wrong := wrong_files(base):
                detail = f"{wrong[0]} is not as in {MANIFEST}"
                return Check("base-backup", self.name, Verdict.FAILED, detail)
            detail = f"every file is as in {MANIFEST} ({error})"
        except IntegrityError as error:
            return Check("base-backup", self.name, Verdict.FAILED, error.cause)
        except VaultError as error:
            return Check("base-backup", self.name, Verdict.UNPROVEN, str(error))
        return Check("base-backup", self.name, Verdict.PROVEN, detail)

    def _wal_check(self, wal: Path) -> Check:
        files = sorted(path.name for path in wal.iterdir()) if wal.is_dir() else []
        segments = [name for name in files if len(name) == 24]
        if not segments:
            return Check("wal", self.name, Verdict.FAILED, "the captured WAL is not there")
        detail = f"{len(segments)} segments, from {segments[0]} to {segments[-1]}"
        return Check("wal", self.name, Verdict.PROVEN, detail)

    @contextmanager
    def open_live(self) -> Iterator[OpenStore]:
        """Open the named database read-only."""
        with snapshot(self._address()) as connection:
            yield OpenDatabase(connection, sample=self._config.sample)

    @contextmanager
    def open_restored(self, restored: Path, scratch: Path) -> Iterator[OpenStore]:
        """Start a copy of the base backup, recovered through the captured WAL if there is any."""
        with (
            self._started(restored, scratch) as (cluster, about),
            snapshot(cluster.address(about.database, about.superuser)) as connection,
        ):
            yield OpenDatabase(connection, sample=self._config.sample)

    def load(self, restored: Path, address: str) -> tuple[CollectionFacts, ...]:
        """Make a data directory that a server can be started on.

        `address` is ``DIRECTORY``, or ``DIRECTORY?until=TIME`` (RFC 3339) for the state at a time;
        ``&wal=DIRECTORY`` names a newer copy of the WAL archive than the captured one.

        Raises:
            RefusedError: when the directory is not new or empty.
            IntegrityError: when the time cannot be reached.
        """
        target, until, wal = _parse_target(address)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RefusedError(
                f"target {target}", "it is not an empty directory", "give a new directory"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._started(restored, target.parent, until=until, wal=wal) as (cluster, about):
            with snapshot(cluster.address(about.database, about.superuser)) as connection:
                facts = OpenDatabase(connection, sample=self._config.sample).describe()
            cluster.stop()
            if target.exists():
                target.rmdir()
            shutil.move(cluster.data, target)
        return facts

    def _address(self) -> Address:
        reference = self._config.password
        if reference is None:
            return self._where
        return Address(self._where.parameters, self._ports.secrets.resolve(reference))

    def _programs(self, program: str, *, at_least: int = 0) -> Programs:
        return find_programs(
            self._ports.runner, self._config.binaries, program=program, at_least=at_least
        )


def _empty(opened: OpenDatabase) -> tuple[Finding, ...]:
    if opened.tables:
        return ()
    return (Finding("no-tables", "", "the named database holds no table", "unproven"),)


def _copy_archive(archive: Path, target: Path) -> None:
    """Copy what is complete in a WAL archive; times are kept, so that nothing is read twice."""
    target.mkdir(mode=0o700)
    for path in sorted(archive.iterdir()):
        if _ARCHIVED.fullmatch(path.name) and path.is_file():
            shutil.copy2(path, target / path.name)


def _parse_target(address: str) -> tuple[Path, datetime | None, Path | None]:
    directory, _, query = address.partition("?")
    options = dict(parse_qsl(query))
    if unknown := options.keys() - {"until", "wal"}:
        raise PolicyError(
            f"address {directory}", f"it has no option {sorted(unknown)[0]}", "use until and wal"
        )
    try:
        until = parse_time(options["until"]) if "until" in options else None
    except ValueError as error:
        raise PolicyError(
            f"address {directory}", f"until: {error}", "write e.g. until=2026-01-02T03:04:05Z"
        ) from error
    wal = Path(options["wal"]) if "wal" in options else None
    return Path(directory).absolute(), until, wal
