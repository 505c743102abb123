"""Which commit a model name means, offline, from what the cache holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmvault.core.errors import RefusedError
from llmvault.sources.formats.git_blob import is_git_id
from llmvault.sources.formats.names import printable
from llmvault.sources.hub.layout import Repository, folder_of

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Pinned:
    """A model that the policy demands, and the commit it means now.

    Attributes:
        revision: as the policy has it: a commit, branch or tag.
    """

    repo: str
    revision: str
    folder: str
    commit: str

    @property
    def is_pinned(self) -> bool:
        """Whether the policy names the commit itself."""
        return self.revision == self.commit


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model as an engine's policy names it: ``repo[:path][@revision]``."""

    repo: str
    path: str
    revision: str


def parse_model(text: str) -> ModelName:
    """Return the parts of ``org/name``, ``org/name@commit`` or ``org/name:path@commit``."""
    named, _, revision = text.rpartition("@") if "@" in text else (text, "", "")
    repo, _, path = named.partition(":")
    return ModelName(repo, path.strip("/"), revision)


def resolve(
    repositories: Iterable[Repository], wanted: Iterable[tuple[str, str]], *, cache: str
) -> tuple[Pinned, ...]:
    """Return the commit of each wanted (repository, revision).

    Raises:
        RefusedError: when one is not in the cache; it says what is, and how to get the other.
    """
    by_folder = {repository.folder: repository for repository in repositories}
    return tuple(_resolve(by_folder, repo, revision, cache) for repo, revision in wanted)


def commit_of(repository: Repository, revision: str) -> str:
    """Return the commit of a revision whose snapshot is in the cache; empty when there is none."""
    commit = revision if is_git_id(revision) else repository.refs.get(revision, "")
    return commit if commit in repository.snapshots else ""


def _resolve(by_folder: Mapping[str, Repository], repo: str, revision: str, cache: str) -> Pinned:
    repository = by_folder.get(folder_of(repo))
    commit = commit_of(repository, revision) if repository else ""
    if repository is None or not commit:
        raise RefusedError(
            f"model {printable(repo)} at {printable(revision)}",
            f"it is not in the cache {cache}, which {_held(repository)}",
            f"hf download {printable(repo)} --revision {printable(revision)} --cache-dir {cache}",
        )
    return Pinned(repo, revision, repository.folder, commit)


def _held(repository: Repository | None) -> str:
    if repository is None:
        return "holds nothing of this repository"
    refs = [f"{name} -> {commit}" for name, commit in sorted(repository.refs.items())]
    held = [printable(text) for text in (*refs, *sorted(repository.snapshots))]
    if not held:
        return "holds no snapshot of it"
    more = f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else ""
    return f"holds of it {', '.join(held[:_SHOWN])}{more}"
