"""PostgreSQL's programs are found where the policy says, and not used when too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.core.errors import UnavailableError
from llmvault.core.process import LocalRunner
from llmvault.sources.postgres import programs
from llmvault.sources.postgres.programs import Programs, find_programs


def install(directory: Path, version: str, *names: str) -> Path:
    """Put programs that tell a version into a directory."""
    directory.mkdir(parents=True)
    for name in names or ("pg_dump",):
        program = directory / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return directory


@pytest.fixture(autouse=True)
def no_usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_USUAL_PLACES", ())


def runner_with(*path: Path) -> LocalRunner:
    return LocalRunner({"PATH": ":".join(map(str, (*path, "/usr/bin", "/bin")))})


@pytest.mark.parametrize(
    ("told", "version", "major"),
    [("16.14", "16.14", 16), ("18beta2", "18beta2", 18), ("15.18 (Debian 15.18-1)", "15.18", 15)],
)
def test_the_version_is_read(tmp_path: Path, told: str, version: str, major: int) -> None:
    directory = install(tmp_path / "bin", told)
    found = find_programs(runner_with(), directory, program="pg_dump")
    assert found == Programs(directory, version, major)
    assert found.path("pg_restore") == str(directory / "pg_restore")


def test_the_path_is_used_when_nothing_is_configured(tmp_path: Path) -> None:
    runner = runner_with(install(tmp_path / "bin", "17.2"))
    found = find_programs(runner, None, program="pg_dump")
    assert found == Programs(None, "17.2", 17)
    assert found.path("pg_dump") == "pg_dump"


def test_a_usual_place_is_used_when_the_path_has_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.6", "17.1", "18.0"):
        install(tmp_path / "lib" / version.partition(".")[0] / "bin", version)
    monkeypatch.setattr(programs, "_USUAL_PLACES", (f"{tmp_path}/lib/*/bin",))
    runner = runner_with(install(tmp_path / "bin", "15.1"))
    assert find_programs(runner, None, program="pg_dump").major == 15
    found = find_programs(runner, None, program="pg_dump", at_least=16)
    assert found == Programs(tmp_path / "lib" / "18" / "bin", "18.0", 18)


def test_the_configured_directory_is_the_only_one(tmp_path: Path) -> None:
    runner = runner_with(install(tmp_path / "bin", "18.0"))
    old = install(tmp_path / "old", "15.1")
    with pytest.raises(UnavailableError) as raised:
        find_programs(runner, old, program="pg_dump", at_least=18)
    assert raised.value.cause == f"in {old} there is only version 15.1, too old for PostgreSQL 18"
    assert "binaries" in raised.value.next_step


def test_a_program_that_is_not_postgres_is_none(tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "pg_dump").write_text("#!/bin/sh\necho hello\n")
    (directory / "pg_dump").chmod(0o755)
    with pytest.raises(UnavailableError, match="there is none in"):
        find_programs(runner_with(), directory, program="pg_dump")
    with pytest.raises(UnavailableError, match="there is none on PATH"):
        find_programs(LocalRunner({"PATH": str(tmp_path)}), None, program="pg_dump")
