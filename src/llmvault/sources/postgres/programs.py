"""PostgreSQL's programs: where they are, and whether they are new enough."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, Runner

_VERSION = re.compile(r"\(PostgreSQL\)\s+((\d+)[.\w]*)")
_USUAL_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one PostgreSQL installation.

    Attributes:
        directory: where they are; None finds them on PATH.
        version: e.g. ``18.4``.
        major: e.g. 18.
    """

    directory: Path | None
    version: str
    major: int

    def path(self, name: str) -> str:
        """Return what to run for a program."""
        return str(self.directory / name) if self.directory else name


def find_programs(
    runner: Runner, configured: Path | None, *, program: str, at_least: int = 0
) -> Programs:
    """Return an installation that has `program` in a major version of at least `at_least`.

    Looks in the configured directory alone, or else on PATH and in the usual places.

    Raises:
        UnavailableError: when there is none.
    """
    seen = []
    for directory in _candidates(configured):
        programs = _installation(runner, directory, program)
        if programs is None:
            continue
        if programs.major >= at_least:
            return programs
        seen.append(programs.version)
    where = f"in {configured}" if configured else "on PATH or in the usual places"
    if seen:
        cause = f"{where} there is only version {seen[0]}, too old for PostgreSQL {at_least}"
    else:
        cause = f"there is none {where}"
    raise UnavailableError(
        program,
        cause,
        f"install the client and server programs of PostgreSQL {at_least or ''}".rstrip()
        + " and name their directory as `binaries` of the source",
    )


def _candidates(configured: Path | None) -> Iterator[Path | None]:
    if configured is not None:
        yield configured
        return
    yield None
    for pattern in _USUAL_PLACES:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_by_number, reverse=True)


def _by_number(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(path)))


def _installation(runner: Runner, directory: Path | None, program: str) -> Programs | None:
    path = str(directory / program) if directory else program
    try:
        done = runner.run(Command((path, "--version")), timeout=30)
    except UnavailableError:
        return None
    match = _VERSION.search(done.stdout)
    if done.exit_code != 0 or match is None:
        return None
    return Programs(directory, match[1], int(match[2]))
