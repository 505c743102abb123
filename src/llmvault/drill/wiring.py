"""Engines and sources of a plan, joined: which model of which source an engine is started on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import UnavailableError
from llmvault.drill.engines.interface import Engine, Session
from llmvault.drill.golden import model_digest
from llmvault.policy.model import Golden
from llmvault.recovery_points.model import FileRecord
from llmvault.sources.interface import LocatesModel, Source


@dataclass(frozen=True, slots=True)
class WiredEngine:
    """An engine of the policy and the model it is started on.

    Attributes:
        source: driver of the source that holds the model.
        model: as the policy names it, relative to the source.
        embedding: whether it embeds; it completes otherwise.
    """

    engine: Engine
    source: Source
    model: str
    embedding: bool

    def model_path(self, root: Path) -> Path:
        """Return the model's file or directory below the source's root, live or restored.

        Raises:
            UnavailableError: when it is not there, the source holds no models, or a link leads out
                of the source: what it leads to is not in the backup, and a drill that loaded it
                would prove nothing.
        """
        if not isinstance(self.source, LocatesModel):
            raise UnavailableError(
                f'source "{self.source.name}"',
                f"a source of kind {self.source.kind} holds no models",
                f'correct the engine "{self.engine.name}" in the policy',
            )
        path = self.source.model_path(root, self.model)
        base = root.resolve()
        for found in (path, *path.rglob("*")) if path.is_dir() else (path,):
            leads_to = Path(os.path.realpath(found))  # unlike resolve, it bears loops
            if not leads_to.is_relative_to(base):
                raise UnavailableError(
                    f'model "{self.model}" of source "{self.source.name}"',
                    f"{found.relative_to(root)} leads to {leads_to}, outside of the source",
                    "make the source the directory that holds the files themselves",
                )
        return path

    def model_sha256(self, root: Path, files: Mapping[str, FileRecord]) -> str:
        """Return the digest that names the model, from the recorded digests of its files."""
        path = self.model_path(root)
        if path.is_file():
            resolved = path.resolve().relative_to(root.resolve()).as_posix()
            return model_digest({path.name: files[resolved].sha256} if resolved in files else {})
        return model_digest(dict(_digests_below(path, root, files)))

    @contextmanager
    def start(self, root: Path, log: Path) -> Iterator[Session]:
        """Start the engine on the model below a root; stop it when the context is left.

        Raises:
            UnavailableError: when it cannot be started.
        """
        with self.engine.start(self.model_path(root), log) as session:
            yield session


def _digests_below(
    path: Path, root: Path, files: Mapping[str, FileRecord]
) -> Iterator[tuple[str, str]]:
    base = root.resolve()
    for found in sorted(path.rglob("*")):
        if found.is_file():
            recorded = files.get(found.resolve().relative_to(base).as_posix())
            if recorded is not None:
                yield found.relative_to(path).as_posix(), recorded.sha256


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a plan's drills need of the policy.

    Attributes:
        engines: by name.
        goldens: by name, in the order they are asked.
        sources: drivers of the plan's sources.
    """

    engines: Mapping[str, WiredEngine]
    goldens: Mapping[str, Golden]
    sources: Mapping[str, Source]
