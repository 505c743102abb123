"""What is recorded of files with secrets: names, and digests that only the key's owner can try."""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from llmvault.core.entries import Entry
from llmvault.sources.env_secrets.dotenv import parse_assignments
from llmvault.sources.formats.names import printable
from llmvault.sources.interface import Finding
from llmvault.sources.walk import unreadable_finding

_LARGEST = 1 << 20
_PURPOSE = b"llmvault secrets 1"


@dataclass(frozen=True, slots=True)
class SecretDigests:
    """Makes digests with a key: HMAC-SHA256 (RFC 2104).

    Without the key nobody can try guesses, so a digest of a weak secret gives nothing away; equal
    secrets of two names have different digests.
    """

    key: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """Tells keys apart without telling them."""
        return self._keyed(b"key")[:16]

    def of(self, name: str, value: bytes) -> str:
        """Return the digest of a named secret; empty for an empty one."""
        return (
            self._keyed(b"value", name.encode("utf-8", "surrogateescape"), value) if value else ""
        )

    def _keyed(self, *parts: bytes) -> str:
        # each part with its length, so that no two lists of parts are the same bytes
        framed = b"".join(len(part).to_bytes(8, "big") + part for part in (_PURPOSE, *parts))
        return hmac.digest(self.key, framed, "sha256").hex()


@dataclass(slots=True)
class Secrets:
    """What was found.

    Attributes:
        files: path -> mode, owner, and what it is: ``env`` (assignments) or ``file`` (one secret).
        digests: secret -> digest. A secret is a path, or ``path:NAME``.
    """

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(self, name: str, path: str, detail: str, severity: str = "warning") -> None:
        """Add a finding on a file."""
        self.findings.append(Finding(name, path, detail, severity))


def read_secrets(
    root: Path, entries: Mapping[str, Entry], env: Sequence[str], digests: SecretDigests
) -> Secrets:
    """Read files and keep names and digests; values do not outlive this call.

    Args:
        root: what the paths are relative to.
        entries: files and links to them, by path.
        env: patterns of the names of files with assignments.
        digests: makes the digests.
    """
    found = Secrets()
    for path in sorted(entries, key=os.fsencode):
        shown = printable(path)
        try:
            with (root / path).open("rb") as stream:
                seen = os.fstat(stream.fileno())
                content = stream.read(_LARGEST + 1) if stat.S_ISREG(seen.st_mode) else None
        except OSError as error:
            found.findings.append(unreadable_finding(path, error))
            continue
        if content is None or len(content) > _LARGEST:
            detail = "it is no regular file of at most 1 MiB, so no secret was read from it"
            found.note("secret-unread", shown, detail, "unproven")
            continue
        is_env = any(fnmatchcase(path.rpartition("/")[2], pattern) for pattern in env)
        found.files[shown] = _facts(seen, "env" if is_env else "file")
        _note_open(found, shown, seen)
        _add(found, shown, content, digests, is_env=is_env)
    return found


def _facts(seen: os.stat_result, kind: str) -> dict[str, Any]:
    mode = f"{stat.S_IMODE(seen.st_mode):04o}"
    return {"kind": kind, "mode": mode, "uid": seen.st_uid, "gid": seen.st_gid}


def _note_open(found: Secrets, path: str, seen: os.stat_result) -> None:
    if seen.st_mode & stat.S_IRWXO:
        mode = stat.S_IMODE(seen.st_mode)
        found.note("open-secret-file", path, f"every user may read it (mode {mode:04o})")


def _add(
    found: Secrets, path: str, content: bytes, digests: SecretDigests, *, is_env: bool
) -> None:
    if not is_env:
        _add_one(found, path, content.rstrip(b"\r\n"), digests)
        return
    assignments = parse_assignments(content)
    for name, value in sorted(assignments.values.items()):
        _add_one(found, f"{path}:{name}", value, digests)
    for name in assignments.repeated:
        found.note("secret-repeated", f"{path}:{name}", "it is assigned twice; the last one holds")
    if assignments.unread:
        lines = ", ".join(map(str, assignments.unread[:5]))
        detail = f"no NAME=value in line {lines}: what is there was not recorded"
        found.note("secret-unread", path, detail, "unproven")


def _add_one(found: Secrets, name: str, value: bytes, digests: SecretDigests) -> None:
    found.digests[name] = digests.of(name, value)
    if not value:
        found.note("secret-empty", name, "it is empty")
