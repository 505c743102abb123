"""What is recorded of a configuration file: who owns it, who may read it, what is in it."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from llmvault.core.entries import Entry
from llmvault.core.files import sha256_file
from llmvault.sources.formats.names import printable
from llmvault.sources.interface import Finding
from llmvault.sources.walk import unreadable_finding

# What is larger is no configuration; its digest is left to the backup, which reads it anyway.
_MAX_HASHED = 16 << 20
_TEMPLATES = (".jinja", ".jinja2", ".j2", ".prompt", ".mustache", ".hbs")
_TEXTS = (".md", ".txt")
_PROMPT_TEXTS = (*_TEXTS, ".yaml", ".yml", ".json", ".toml", ".xml")


def record_of(root: Path, entry: Entry, findings: list[Finding]) -> dict[str, Any]:
    """Return what the manifest keeps of a file or symbolic link; adds what is wrong to `findings`.

    A file has ``size`` and ``sha256`` (empty when it was not hashed), a link has ``link``.
    """
    record: dict[str, Any] = {
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "owner": _user(entry.uid),
        "group": _group(entry.gid),
    }
    if entry.kind == "symlink":
        return record | {"link": printable(entry.target)}
    return record | {"size": entry.size, "sha256": _digest(root, entry, findings)}


def _digest(root: Path, entry: Entry, findings: list[Finding]) -> str:
    if entry.size > _MAX_HASHED:
        detail = f"{entry.size:,} bytes are no configuration; its digest is taken by the backup"
        findings.append(Finding("large-file", printable(entry.path), detail, "warning"))
        return ""
    try:
        return sha256_file(root / entry.path)
    except OSError as error:
        findings.append(unreadable_finding(entry.path, error))
        return ""


@cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@cache
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def prompts_of(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return path -> SHA-256 of the prompts and templates among recorded files."""
    return {
        path: record["sha256"]
        for path, record in files.items()
        if record.get("sha256") and is_prompt(path)
    }


def is_prompt(path: str) -> bool:
    """Whether a path is a prompt or template, by its suffix or the folder it is in."""
    *folders, name = path.lower().split("/")
    if name.endswith(_TEMPLATES):
        return True
    if any("prompt" in folder for folder in folders):
        return name.endswith(_PROMPT_TEXTS)
    return any("template" in folder for folder in folders) and name.endswith(_TEXTS)
