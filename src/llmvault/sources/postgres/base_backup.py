"""``pg_basebackup`` and ``pg_verifybackup``, and the manifest that both speak of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.files import sha256_file
from llmvault.core.process import Command, Runner
from llmvault.sources.postgres.connection import Address
from llmvault.sources.postgres.programs import Programs

MANIFEST = "backup_manifest"
_SAID = 300


class VerifyCrashedError(Exception):
    """``pg_verifybackup`` ended by a signal: it says nothing of the backup."""


def take_base_backup(runner: Runner, programs: Programs, address: Address, target: Path) -> None:
    """Take a base backup with the WAL that it needs into a new directory.

    Raises:
        UnavailableError: when pg_basebackup fails; the directory is of no use then.
    """
    argv = (
        programs.path("pg_basebackup"),
        f"--pgdata={target}",
        "--format=plain",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--manifest-checksums=SHA256",
        "--label=llmvault",
        "--no-password",
        f"--dbname={address.conninfo()}",
    )
    done = runner.run(Command(argv, environment=address.environment()))
    if done.exit_code != 0:
        raise UnavailableError(
            f"cluster {address}",
            f"pg_basebackup ended with exit code {done.exit_code}: {done.stderr.strip()[-_SAID:]}",
            "the role needs REPLICATION, pg_hba.conf a line for it, the disk the cluster's size",
        )


def verify_backup(runner: Runner, programs: Programs, base: Path) -> None:
    """Have ``pg_verifybackup`` look at every file and at the WAL.

    Raises:
        IntegrityError: when it finds something wrong.
        VerifyCrashedError: when it crashes.
    """
    done = runner.run(
        Command((programs.path("pg_verifybackup"), str(base)), environment={"LC_ALL": "C"})
    )
    if done.exit_code < 0 or done.exit_code >= 128:  # by a signal, or by a wrapper's word for one
        raise VerifyCrashedError(f"pg_verifybackup {programs.version} crashed")
    if done.exit_code != 0:
        said = (done.stderr or done.stdout).strip()[:_SAID]
        raise IntegrityError(f"base backup {base}", f"pg_verifybackup: {said}")


def file_digests(base: Path) -> Mapping[str, str]:
    """Return path -> SHA-256 of every file that the backup's manifest names.

    Raises:
        IntegrityError: when the manifest is not in the documented form.
    """
    try:
        files = json.loads((base / MANIFEST).read_bytes())["Files"]
        return {
            _path(one): one["Checksum"] for one in files if one["Checksum-Algorithm"] == "SHA256"
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"base backup {base}", f"its manifest cannot be read: {error!r}"
        ) from error


def _path(entry: Mapping[str, str]) -> str:
    if "Path" in entry:
        return entry["Path"]
    return bytes.fromhex(entry["Encoded-Path"]).decode("utf-8", "surrogateescape")


def wrong_files(base: Path) -> list[str]:
    """Return the files that are absent or not as the backup's manifest says.

    Raises:
        IntegrityError: when the manifest is not in the documented form.
    """
    return [
        path
        for path, digest in file_digests(base).items()
        if not (base / path).is_file() or sha256_file(base / path) != digest
    ]
