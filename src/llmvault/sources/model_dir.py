"""A directory of model files: safetensors, GGUF, adapters, pickles, with all that lies beside them.

Observing reads headers and small documents only; digests of whole files are taken while restic
reads them, and compared when a drill verifies every byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llmvault.core.entries import Entry
from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.verdict import Check
from llmvault.sources.formats.names import printable
from llmvault.sources.interface import (
    Capture,
    Finding,
    ModelFacts,
    Observation,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.models.comparison import weights_checks
from llmvault.sources.models.files import WEIGHTS_SUFFIXES, ModelFile
from llmvault.sources.models.folders import Inspection, inspect
from llmvault.sources.walk import Tree, existing_root, follow, link_cause, read_tree

if TYPE_CHECKING:
    from llmvault.policy.sources import ModelDirSource

_NEEDED_TO_LOAD = (".json", ".model", *WEIGHTS_SUFFIXES)


class ModelDirectory:
    """A directory with model files; models may lie in it and in folders below it."""

    kind: ClassVar[str] = "model_dir"

    def __init__(self, name: str, config: ModelDirSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the directory."""
        return str(self._config.path)

    def place(self) -> Path:
        """Return the directory."""
        return self._config.path

    def seen_at(self, place: Path) -> ModelDirectory:
        """Return the same source, read at another place."""
        config = self._config.model_copy(update={"path": place})
        return ModelDirectory(self.name, config, self._ports)

    def observe(self) -> Observation:
        """Read every header and look at what lies beside the weights.

        Raises:
            UnavailableError: when the directory does not exist.
            RefusedError: when ``exclude_caches`` would leave out everything.
        """
        tree = self._tree()
        files, link_findings = _model_files(tree)
        inspection = inspect(files)
        models = tuple(self._named(facts) for facts in inspection.models)
        findings = (
            *tree.findings,
            *link_findings,
            *inspection.reading.findings,
            *self._adapter_findings(inspection.models),
            *_emptiness(tree, inspection),
        )
        return Observation(findings=findings, models=models, details=_details(tree, inspection))

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the directory, to be read in place."""
        if self._config.exclude_caches:
            tree = self._tree()
            yield TreeCapture(root=tree.root, exclude=tree.exclude)
        else:
            root = existing_root(self._config.path, self.name)
            yield TreeCapture(root=root, exclude=self._config.exclude)

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Read every header again and compare with the recorded inventory.

        Checks: ``headers`` (each agrees with its file, shards and links are complete) and
        ``inventory`` (the same weights with the same headers).
        """
        tree = read_tree(restored, self.name)
        files, link_findings = _model_files(tree)
        reading = inspect(files).reading
        findings = (*tree.findings, *link_findings, *reading.findings)
        return weights_checks(self.name, recorded, reading.summaries(), findings)

    def model_path(self, root: Path, model: str) -> Path:
        """Return the file or directory that a path relative to the root names.

        Raises:
            RefusedError: when the path leaves the root.
            UnavailableError: when nothing is there.
        """
        path = root / model
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(os.path.realpath(root)):
            raise RefusedError(
                f'model "{printable(model)}"',
                f'it leads out of source "{self.name}"',
                "name it by a path relative to the source's root",
            )
        if not real.is_file() and not (real.is_dir() and any(real.iterdir())):
            raise UnavailableError(
                f'model "{printable(model)}"',
                f'there is no such file or directory in source "{self.name}"',
                f"models are named relative to {self.location()}",
            )
        return path

    def _tree(self) -> Tree:
        config = self._config
        return read_tree(
            config.path, self.name, exclude=config.exclude, exclude_caches=config.exclude_caches
        )

    def _named(self, facts: ModelFacts) -> ModelFacts:
        base = facts.base_model
        if facts.format == "adapter":
            base = self._config.base_model or base
        return replace(facts, name=facts.name or ".", base_model=base)

    def _adapter_findings(self, models: list[ModelFacts]) -> Iterator[Finding]:
        declared = self._config.base_model
        for facts in models:
            if facts.format != "adapter":
                continue
            place = facts.name or "."
            if not declared and not facts.base_model:
                detail = "an adapter that names no base model; declare base_model in the policy"
                yield Finding("adapter-base-unknown", place, detail, "warning")
            elif declared and facts.base_model and declared != facts.base_model:
                detail = f"it names {facts.base_model} as its base, the policy {declared}"
                yield Finding("adapter-base-differs", place, detail, "warning")


def _model_files(tree: Tree) -> tuple[list[ModelFile], list[Finding]]:
    files: list[ModelFile] = []
    findings: list[Finding] = []
    root = str(tree.root)
    for entry in tree.entries:
        if entry.kind == "file":
            files.append(ModelFile(entry.path, f"{root}/{entry.path}", entry.size))
        elif entry.kind == "symlink":
            link = follow(tree, entry)
            if link.problem:
                findings.extend(_link_finding(entry, link.problem, link_cause(entry, link)))
            else:
                files.append(ModelFile(entry.path, f"{root}/{link.path}", link.size))
    return files, findings


def _link_finding(entry: Entry, problem: str, cause: str) -> Iterator[Finding]:
    needed = entry.path.lower().endswith(_NEEDED_TO_LOAD)
    name = "dangling-link" if problem in ("dangling", "loop") else "link-outside"
    if problem == "no-file" and not needed:
        return
    yield Finding(name, printable(entry.path), cause, "failed" if needed else "warning")


def _emptiness(tree: Tree, inspection: Inspection) -> Iterator[Finding]:
    if not any(entry.kind == "file" for entry in tree.entries):
        yield Finding("empty-source", "", "the directory holds no file", "unproven")
    elif not inspection.reading.weights and not inspection.reading.findings:
        yield Finding("no-weights", "", "no weights were found in the directory", "unproven")


def _details(tree: Tree, inspection: Inspection) -> dict[str, object]:
    files = [entry for entry in tree.entries if entry.kind == "file"]
    return {
        "files": len(files),
        "bytes": sum(entry.size for entry in files),
        "weights": inspection.reading.summaries(),
        "indexes": dict(sorted(inspection.indexes.items())),
    }
