"""Comparing a restored Hugging Face cache with the recorded one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmvault.core.verdict import Check, Verdict
from llmvault.sources.formats.names import printable
from llmvault.sources.hub.inventory import inventory_of
from llmvault.sources.hub.judge import hash_small_blobs
from llmvault.sources.hub.layout import Repository, folder_of
from llmvault.sources.hub.resolve import commit_of
from llmvault.sources.hub.weights import HubWeights
from llmvault.sources.interface import Observation
from llmvault.sources.models.comparison import weights_checks


def restored_checks(
    source: str,
    recorded: Observation,
    *,
    root: Path,
    repositories: Sequence[Repository],
    weights: HubWeights,
) -> tuple[Check, ...]:
    """Return whether a restored hub holds what was recorded, and nothing in it is broken.

    What was told as a warning when the recovery point was made is no news now.
    """
    expected = recorded.details.get("repositories")
    if not isinstance(expected, Mapping) or not expected:
        detail = "the recovery point records no repository"
        return (Check("links", source, Verdict.UNPROVEN, detail),)
    old_news = {(f.name, f.path) for f in recorded.findings if f.severity == "warning"}
    restored = {
        printable(repository.folder): inventory_of(repository) for repository in repositories
    }
    checks = [_links(source, expected, restored)]
    checks.extend(_refs(source, expected, restored))
    checks.extend(_models(source, recorded, repositories))
    checks.extend(_git_hashes(source, root, repositories, old_news))
    news = [found for found in weights.findings if (found.name, found.path) not in old_news]
    grave = any(found.severity != "warning" for found in news)
    if grave or recorded.details.get("weights") or weights.summaries:
        checks.extend(weights_checks(source, recorded, weights.summaries, news))
    return tuple(checks)


def _links(source: str, expected: Mapping[str, Any], restored: Mapping[str, Any]) -> Check:
    wanted = dict(_files(expected))
    found = dict(_files(restored))
    wrong = [path for path in wanted if found.get(path) != wanted[path]]
    if wrong:
        detail = f"{len(wrong)} of {len(wanted)} snapshot files do not lead to what was recorded"
        return Check("links", source, Verdict.FAILED, f"{detail}, e.g. {wrong[0]}")
    if not wanted:
        detail = "the recovery point records no file in any snapshot"
        return Check("links", source, Verdict.UNPROVEN, detail)
    detail = f"{len(wanted)} snapshot files lead to the recorded blobs"
    return Check("links", source, Verdict.PROVEN, detail)


def _files(repositories: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for folder, repository in repositories.items():
        for commit, files in repository["snapshots"].items():
            for path, file in files.items():
                yield f"{folder}/snapshots/{commit}/{path}", dict(file)


def _refs(source: str, expected: Mapping[str, Any], restored: Mapping[str, Any]) -> Iterator[Check]:
    wanted = dict(_all_refs(expected))
    found = dict(_all_refs(restored))
    wrong = [path for path in wanted if found.get(path) != wanted[path]]
    if wrong:
        detail = f"{len(wrong)} of {len(wanted)} refs do not name the recorded commit"
        yield Check("refs", source, Verdict.FAILED, f"{detail}, e.g. {wrong[0]}")
    elif wanted:
        detail = f"{len(wanted)} refs name the recorded commits"
        yield Check("refs", source, Verdict.PROVEN, detail)


def _all_refs(repositories: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for folder, repository in repositories.items():
        for ref, commit in repository["refs"].items():
            yield f"{folder}/refs/{ref}", commit


def _models(
    source: str, recorded: Observation, repositories: Iterable[Repository]
) -> Iterator[Check]:
    by_folder = {repository.folder: repository for repository in repositories}
    pinned = recorded.details.get("pinned") or []
    for model in pinned:
        repository = by_folder.get(folder_of(model["repo"]))
        commit = commit_of(repository, model["revision"]) if repository else ""
        if commit != model["commit"]:
            detail = f"{model['repo']} at {model['revision']} does not resolve to {model['commit']}"
            yield Check("models", source, Verdict.FAILED, detail)
            return
    if pinned:
        detail = f"{len(pinned)} demanded models resolve offline"
        yield Check("models", source, Verdict.PROVEN, detail)


def _git_hashes(
    source: str, root: Path, repositories: Sequence[Repository], old_news: set[tuple[str, str]]
) -> Iterator[Check]:
    hashes = hash_small_blobs(root, repositories)
    bad = [path for path in hashes.bad if ("blob-corrupt", printable(path)) not in old_news]
    if bad:
        detail = f"{len(bad)} small files have another git object id than their name, e.g. {bad[0]}"
        yield Check("git-hashes", source, Verdict.FAILED, printable(detail))
    elif hashes.unread:
        detail = f"{len(hashes.unread)} small files cannot be read"
        yield Check("git-hashes", source, Verdict.UNPROVEN, detail)
    elif hashes.good:
        detail = f"{len(hashes.good)} small files have the git object id in their name"
        yield Check("git-hashes", source, Verdict.PROVEN, detail)
