"""The models in the snapshots of a Hugging Face cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from llmvault.sources.formats.names import printable
from llmvault.sources.hub.judge import Need
from llmvault.sources.hub.layout import Repository
from llmvault.sources.interface import Finding, ModelFacts
from llmvault.sources.models.files import ModelFile
from llmvault.sources.models.folders import inspect
from llmvault.sources.walk import Tree


@dataclass(slots=True)
class HubWeights:
    """What the headers in all snapshots say; paths are relative to the hub.

    A model at the top of its repository is named ``org/name``, any other ``org/name:path``.
    """

    models: list[ModelFacts]
    findings: list[Finding]
    summaries: dict[str, Any]
    indexes: dict[str, Any]


def read_weights(tree: Tree, repositories: Iterable[Repository], need: Need) -> HubWeights:
    """Return what the headers in every snapshot of a model say."""
    found = HubWeights([], [], {}, {})
    for repository in repositories:
        for commit in sorted(repository.snapshots) if repository.kind == "model" else ():
            severity = need.severity(repository.folder, commit)
            _read_snapshot(tree, repository, commit, severity, found)
    return found


def _read_snapshot(
    tree: Tree, repository: Repository, commit: str, severity: str, found: HubWeights
) -> None:
    files = [
        ModelFile(file.path, f"{tree.root}/{file.link.path}", file.link.size)
        for file in repository.snapshots[commit]
        if not file.link.problem
    ]
    inspection = inspect(files)
    prefix = f"{printable(repository.folder)}/snapshots/{printable(commit)}"
    for facts in inspection.models:
        whole = printable(repository.name)
        name = f"{whole}:{facts.name}" if facts.name else whole
        found.models.append(replace(facts, name=name, revision=printable(commit)))
    for finding in inspection.reading.findings:
        grave = severity if finding.severity == "failed" else finding.severity
        found.findings.append(replace(finding, path=f"{prefix}/{finding.path}", severity=grave))
    for path, summary in inspection.reading.summaries().items():
        found.summaries[f"{prefix}/{path}"] = summary
    for path, index in inspection.indexes.items():
        found.indexes[f"{prefix}/{path}"] = index
