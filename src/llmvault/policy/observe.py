"""What lint must know of this machine: links, model caches, modes of secret files. Only looks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmvault.core.secrets import SecretRef
from llmvault.policy.model import Policy
from llmvault.policy.sources import SourceBase

_DEEPEST = 3
_MOST_DIRECTORIES = 2000
_CACHED_REPOSITORY = ("models--", "datasets--", "spaces--")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts about this machine that a policy is judged by.

    Attributes:
        own_directories: llmvault's state and scratch directories, by what they are called.
        real: the path without symbolic links, for every path that the policy names.
        caches_below: Hugging Face caches found in a source's directory, by the source's name;
            looked for only where ``exclude_caches`` is set.
        secret_modes: permission bits of files that hold secrets.
    """

    own_directories: Mapping[str, Path] = field(default_factory=dict)
    real: Mapping[Path, Path] = field(default_factory=dict)
    caches_below: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    secret_modes: Mapping[Path, int] = field(default_factory=dict)

    def real_path(self, path: Path) -> Path:
        """Return a path without symbolic links, as far as it was observed."""
        return self.real.get(path, path)


def observe(policy: Policy, *, state: Path, scratch: Path) -> Surroundings:
    """Look at what the policy names on this machine; what cannot be read is left out."""
    own = {"state directory": state, "scratch directory": scratch}
    named = [path for source in policy.sources.values() if (path := local_path(source))]
    named += [path for one in policy.repositories.values() if (path := one.local_path)]
    return Surroundings(
        own_directories=own,
        real={path: Path(os.path.realpath(path)) for path in (*named, *own.values())},
        caches_below={
            name: tuple(_caches(path))
            for name, source in policy.sources.items()
            if source.exclude_caches and (path := local_path(source))
        },
        secret_modes=dict(_modes(secret_files(policy))),
    )


def local_path(source: SourceBase) -> Path | None:
    """Return the directory that a source reads, or None when it reads a server."""
    path = getattr(source, "path", None)
    return path if isinstance(path, Path) else None


def secret_files(policy: Policy) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield the files that hold secrets, each with the keys of the value that names it."""
    for name, repository in policy.repositories.items():
        yield from _file(("repositories", name, "password"), repository.password)
        for variable, reference in repository.environment.items():
            yield from _file(("repositories", name, "environment", variable), reference)
    for name, source in policy.sources.items():
        for key in ("password", "token"):
            held = getattr(source, key, None)
            if isinstance(held, SecretRef):
                yield from _file(("sources", name, key), held)
    for name, target in policy.notify.items():
        for key in ("url", "user", "password"):
            held = getattr(target, key, None)
            if isinstance(held, SecretRef):
                yield from _file(("notify", name, key), held)


def _file(keys: tuple[str, ...], reference: SecretRef) -> Iterator[tuple[tuple[str, ...], Path]]:
    if reference.scheme == "file":
        yield keys, Path(reference.locator)


def _modes(files: Iterable[tuple[tuple[str, ...], Path]]) -> Iterator[tuple[Path, int]]:
    for _, file in files:
        try:
            yield file, stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue  # a missing secret is told by doctor and by whoever needs it


def _caches(root: Path) -> Iterator[Path]:
    """Yield directories that hold cached repositories, at most three levels down."""
    level, seen = [root], 0
    for _ in range(_DEEPEST + 1):
        below: list[Path] = []
        for directory in level:
            seen += 1
            children = _directories(directory) if seen <= _MOST_DIRECTORIES else []
            if any(child.name.startswith(_CACHED_REPOSITORY) for child in children):
                yield directory
            below.extend(children)
        level = below


def _directories(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as children:
            return [Path(child) for child in children if child.is_dir(follow_symlinks=False)]
    except OSError:
        return []
