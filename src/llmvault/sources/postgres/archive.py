"""The dump: made by ``pg_dump``, listed and restored by ``pg_restore``.

The format is pg_dump's tar format, which extracted is an archive of the directory format. It is not
compressed and lists objects in an order of their names, so that an unchanged table gives the same
bytes for restic to recognise; the table of contents holds the time of the dump and differs. pg_dump
has to know the length of each table's data before it can write it to a stream, and keeps one table
at a time in an unnamed file in ``/tmp``.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.core.process import Command, Process, Runner
from llmvault.sources.postgres.connection import Address
from llmvault.sources.postgres.programs import Programs

FILENAME = "database.tar"
_LOCK_WAIT = "120s"
_DATA_ENTRY = re.compile(r"(\d+); \d+ \d+ TABLE DATA (.*)")
_MISSING_ROLE = re.compile(r'role "(.+)" does not exist')  # quotes in it are not doubled
_MISSING_EXTENSION = re.compile(r'extension "([^"]+)" is not available|could not open extension')


@contextmanager
def dumping(
    runner: Runner, programs: Programs, address: Address, snapshot: str
) -> Iterator[Iterator[bytes]]:
    """Run ``pg_dump`` on an exported snapshot and yield the pieces of its archive.

    The iterator raises VaultError when pg_dump fails.
    """
    command = Command(
        (
            programs.path("pg_dump"),
            "--format=tar",
            "--no-password",
            f"--lock-wait-timeout={_LOCK_WAIT}",
            f"--snapshot={snapshot}",
            f"--dbname={address.conninfo()}",
        ),
        environment=address.environment(),
    )
    with runner.start(command) as process:
        yield _pieces(process, address)


def _pieces(process: Process, address: Address) -> Iterator[bytes]:
    yield from process.chunks()
    code = process.wait()
    if code != 0:
        raise UnavailableError(
            f"database {address}",
            f"pg_dump ended with exit code {code}: {_said(process.stderr_lines())}",
            "the dump is incomplete and must not be kept; look at the server's log, then try again",
        )


def _said(lines: tuple[str, ...]) -> str:
    told = [line.strip() for line in lines if line.strip()]
    return "; ".join(told[:3]) or "it said nothing"


@dataclass(frozen=True, slots=True)
class Listing:
    """What ``pg_restore --list`` tells of an archive.

    Attributes:
        data: number of the entry -> the rest of its line, ``schema table owner``.
    """

    data: dict[str, str]

    def has_table(self, schema: str, name: str) -> bool:
        """Whether there is data of a table."""
        return any(rest.startswith(f"{schema} {name} ") for rest in self.data.values())


def list_archive(runner: Runner, programs: Programs, archive: Path) -> Listing:
    """Return the table of contents of an archive.

    Raises:
        IntegrityError: when it cannot be read.
        UnavailableError: when it was made by a newer pg_dump than these programs know.
    """
    command = Command(
        (programs.path("pg_restore"), "--list", str(archive)), environment={"LC_ALL": "C"}
    )
    done = runner.run(command)
    if done.exit_code != 0:
        raise _restore_error(programs, done.stderr)
    entries = (_DATA_ENTRY.match(line) for line in done.stdout.splitlines())
    return Listing({entry[1]: entry[2] for entry in entries if entry})


def missing_members(archive: Path, listing: Listing) -> tuple[str, ...]:
    """Return the members that the table of contents needs and the tar file does not have.

    Raises:
        IntegrityError: when the tar file is cut off or damaged.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            present = {member.name for member in tar}
    except (tarfile.TarError, EOFError) as error:
        raise IntegrityError(FILENAME, f"the tar file is damaged: {error}") from error
    return tuple(f"{number}.dat" for number in listing.data if f"{number}.dat" not in present)


def restore_archive(
    runner: Runner,
    programs: Programs,
    archive: Path,
    address: Address,
    *,
    options: tuple[str, ...] = (),
) -> None:
    """Restore an archive into an empty database; stops at the first error.

    Raises:
        IntegrityError: when pg_restore fails.
        UnavailableError: when an extension that it needs is not installed.
    """
    done = runner.run(_restore(programs, archive, address, ("--exit-on-error", *options)))
    if done.exit_code != 0:
        raise _restore_error(programs, done.stderr)


def missing_roles(
    runner: Runner, programs: Programs, archive: Path, address: Address
) -> tuple[str, ...]:
    """Return the roles that an archive speaks of and that are missing.

    A dump holds grants and owners but not the roles themselves. Its definitions, without the rows,
    are restored into the given database, which is of no use afterwards.
    """
    done = runner.run(_restore(programs, archive, address, ("--schema-only",)))
    return tuple(sorted(set(_MISSING_ROLE.findall(done.stderr))))


def _restore(
    programs: Programs, archive: Path, address: Address, options: tuple[str, ...]
) -> Command:
    return Command(
        (
            programs.path("pg_restore"),
            "--no-password",
            *options,
            f"--dbname={address.conninfo()}",
            str(archive),
        ),
        environment=address.environment(),
    )


def _restore_error(programs: Programs, stderr: str) -> VaultError:
    said = _said(tuple(stderr.splitlines()))
    if _MISSING_EXTENSION.search(stderr):
        return UnavailableError(
            "pg_restore",
            f"an extension is not installed: {said}",
            "install it (pgvector, say) for this PostgreSQL, or name other `binaries`",
        )
    if "unsupported version" in stderr:
        return UnavailableError(
            f"pg_restore {programs.version}",
            "the dump was made by a newer pg_dump",
            "name newer `binaries` in the policy",
        )
    return IntegrityError(FILENAME, f"pg_restore fails: {said}")
