"""The files of a LanceDB database: a directory ``NAME.lance`` per table.

Lance's format (https://lance.org/format/table/) never changes a file: a version is one manifest in
``_versions``, which names the data files, deletion files and indexes that it is made of. A manifest
is named by its version, or by 2^64 - 1 - version in twenty digits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmvault.core.errors import IntegrityError
from llmvault.sources.stores.files import clone_file

SUFFIX = ".lance"
TAG_PREFIX = "llmvault-capture-"
_VERSIONS = "_versions"
_TAGS = "_refs/tags"
_HIGHEST = (1 << 64) - 1
_DIGITS = 20


def table_names(database: Path) -> tuple[str, ...]:
    """Return the names of the tables below a database's directory, sorted."""
    if not database.is_dir():
        return ()
    found = (entry.name for entry in database.iterdir() if entry.name.endswith(SUFFIX))
    return tuple(sorted(name.removesuffix(SUFFIX) for name in found))


def copy_tables(source: Path, target: Path, versions: Mapping[str, int]) -> None:
    """Copy one version of every table into an empty directory, its manifest last.

    Older manifests are left out, except those that a tag of the user's names; files that only they
    need come along. What a clean-up removes meanwhile belongs to none of them.

    Raises:
        IntegrityError: when the manifest of a version is not there.
        OSError: when something cannot be copied.
    """
    for table, version in versions.items():
        folder = table + SUFFIX
        _copy_table(source / folder, target / folder, version)


def _copy_table(source: Path, target: Path, version: int) -> None:
    tagged = _tagged_versions(source)
    target.mkdir(mode=0o700)
    for path in _files(source):
        relative = path.relative_to(source)
        if relative.parts[0] != _VERSIONS and not _is_own_tag(relative):
            _copy(path, target / relative)
    manifests = {number: path for path in _manifests(source) if (number := _version(path.name))}
    if version not in manifests:
        raise IntegrityError(
            f"LanceDB table {source.name}", f"the manifest of its version {version} is not there"
        )
    for number in sorted({*tagged & set(manifests), version}):
        _copy(manifests[number], target / _VERSIONS / manifests[number].name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        clone_file(source, target)
    except FileNotFoundError:
        target.unlink(missing_ok=True)  # cleaned up meanwhile; what is needed is tagged
        return
    seen = source.stat()
    target.chmod(seen.st_mode & 0o777)
    os.utime(target, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _files(table: Path) -> Iterator[Path]:
    return (path for path in sorted(table.rglob("*")) if path.is_file() and not path.is_symlink())


def _manifests(table: Path) -> Iterator[Path]:
    return (path for path in (table / _VERSIONS).glob("*.manifest") if path.is_file())


def _version(name: str) -> int:
    stem = name.removesuffix(".manifest")
    if not stem.isdigit():
        return 0
    return _HIGHEST - int(stem) if len(stem) == _DIGITS else int(stem)


def _is_own_tag(relative: Path) -> bool:
    return relative.parts[:2] == ("_refs", "tags") and relative.name.startswith(TAG_PREFIX)


def _tagged_versions(table: Path) -> set[int]:
    found = set()
    for path in (table / _TAGS).glob("*.json"):
        if path.name.startswith(TAG_PREFIX):
            continue
        try:
            found.add(int(json.loads(path.read_bytes())["version"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a tag that cannot be read pins nothing; Lance itself tells of it
    return found
