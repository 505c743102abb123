"""A Hugging Face cache: the folder of ``HF_HUB_CACHE``, or ``HF_HOME`` with ``hub/`` in it.

The whole hub is captured, so that a restored one works offline; only locks and unfinished downloads
are left out. The names of LFS blobs are claims on their SHA-256, handed over as such and proven
while the backup reads the bytes; blobs named by their git object id are small and compared at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.verdict import Check
from llmvault.sources.formats.git_blob import is_git_id
from llmvault.sources.formats.names import printable
from llmvault.sources.hub.comparison import restored_checks
from llmvault.sources.hub.inventory import claimed_digests, details_of
from llmvault.sources.hub.judge import Need, hash_small_blobs, judge
from llmvault.sources.hub.layout import (
    INCOMPLETE,
    LOCKS,
    Repository,
    folder_of,
    hub_of,
    read_repositories,
)
from llmvault.sources.hub.resolve import Pinned, parse_model, resolve
from llmvault.sources.hub.weights import read_weights
from llmvault.sources.interface import (
    Capture,
    Finding,
    ModelFacts,
    Observation,
    SourcePorts,
    TreeCapture,
)
from llmvault.sources.walk import Tree, existing_root, read_tree

if TYPE_CHECKING:
    from llmvault.policy.sources import HfCacheSource

_LEFT_OUT = (f"/{LOCKS}", f"*/blobs/*{INCOMPLETE}")


class HuggingFaceCache:
    """A Hugging Face cache with models, and datasets or spaces if there are any."""

    kind: ClassVar[str] = "hf_cache"

    def __init__(self, name: str, config: HfCacheSource, ports: SourcePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def location(self) -> str:
        """Return the directory that the policy names."""
        return str(self._config.path)

    def place(self) -> Path:
        """Return the directory."""
        return self._config.path

    def seen_at(self, place: Path) -> HuggingFaceCache:
        """Return the same source, read at another place."""
        config = self._config.model_copy(update={"path": place})
        return HuggingFaceCache(self.name, config, self._ports)

    def observe(self) -> Observation:
        """Read the layout, hash what is small, read every header.

        Raises:
            UnavailableError: when the directory does not exist or holds no repository.
            RefusedError: when a demanded model is absent, or ``exclude_caches`` is set.
        """
        tree, repositories = self._read()
        pinned = self._resolve(tree, repositories)
        need = Need({(p.folder, p.commit) for p in pinned} if pinned else None)
        weights = read_weights(tree, repositories, need)
        hashes = hash_small_blobs(tree.root, repositories)
        findings = (
            *tree.findings,
            *_unpinned(pinned),
            *judge(tree, repositories, hashes, need),
            *weights.findings,
        )
        details = details_of(repositories, pinned, weights)
        models = tuple(sorted(weights.models, key=lambda facts: _rank(facts, pinned)))
        return Observation(findings=findings, models=models, details=details)

    @contextmanager
    def capture(self, staging: Path) -> Iterator[Capture]:
        """Yield the hub, to be read in place, with the digests that its blob names claim."""
        tree, repositories = self._read()
        self._resolve(tree, repositories)
        yield TreeCapture(
            root=tree.root,
            exclude=(*tree.exclude, *_LEFT_OUT),
            known_sha256=claimed_digests(repositories),
        )

    def check(self, restored: Path, recorded: Observation) -> tuple[Check, ...]:
        """Compare a restored hub with the recorded one.

        Checks: ``links`` (each name of each snapshot leads to the recorded blob), ``refs``,
        ``models`` (the demanded ones resolve offline), ``git-hashes`` (small files), ``headers``
        and ``inventory`` (weights). That LFS blobs hash to their names is proven by the digests.
        """
        root = existing_root(restored, self.name)
        tree = read_tree(hub_of(root), self.name)
        repositories = read_repositories(tree)
        weights = read_weights(tree, repositories, Need(None))
        return restored_checks(
            self.name, recorded, root=tree.root, repositories=repositories, weights=weights
        )

    def model_path(self, root: Path, model: str) -> Path:
        """Return the snapshot folder of ``org/name`` or ``org/name@revision``.

        With ``org/name:path@revision``, the file or folder at that path in the snapshot. Without a
        revision: the commit the policy demands, else the branch ``main``, else the only snapshot.

        Raises:
            RefusedError: when the path leads out of the snapshot.
            UnavailableError: when it is not there.
        """
        wanted = parse_model(model)
        repository = hub_of(root) / folder_of(wanted.repo) if root.is_dir() else root
        commit = self._commit(repository, wanted.repo, wanted.revision)
        snapshot = repository / "snapshots" / commit
        thing = f'model "{printable(model)}"'
        if ".." in wanted.path.split("/"):
            raise RefusedError(thing, "its path leads out of the snapshot")
        place = snapshot / wanted.path if wanted.path else snapshot
        if not commit or not place.exists():
            raise UnavailableError(
                thing,
                f'it is not in the restored files of source "{self.name}"',
                "name it org/name@commit; `recovery-points show` lists what was stored",
            )
        return place

    def _commit(self, repository: Path, repo: str, revision: str) -> str:
        demanded = [model.revision for model in self._config.models if model.repo == repo]
        snapshots = _names(repository / "snapshots")
        for candidate in (revision,) if revision else (*demanded, "main"):
            commit = candidate if is_git_id(candidate) else _ref(repository, candidate)
            if commit in snapshots:
                return commit
        return snapshots[0] if len(snapshots) == 1 and not revision else ""

    def _read(self) -> tuple[Tree, tuple[Repository, ...]]:
        config = self._config
        thing = f'source "{self.name}"'
        if config.exclude_caches:
            raise RefusedError(
                thing,
                "exclude_caches is set, and huggingface_hub marks its cache with a CACHEDIR.TAG: "
                "the backup would hold 44 bytes of tag and no model",
                "remove exclude_caches from this source",
            )
        hub = hub_of(existing_root(config.path, self.name))
        tree = read_tree(hub, self.name, exclude=config.exclude)
        repositories = read_repositories(tree)
        if not repositories:
            raise UnavailableError(
                thing,
                f"{config.path} holds no repository, neither itself nor in hub/",
                "give the folder that HF_HUB_CACHE or HF_HOME names",
            )
        return tree, repositories

    def _resolve(self, tree: Tree, repositories: tuple[Repository, ...]) -> tuple[Pinned, ...]:
        wanted = ((model.repo, model.revision) for model in self._config.models)
        return resolve(repositories, wanted, cache=str(tree.root))


def _unpinned(pinned: tuple[Pinned, ...]) -> Iterator[Finding]:
    for model in pinned:
        if not model.is_pinned:
            detail = (
                f"{printable(model.revision)} means commit {model.commit} today and may mean "
                "another tomorrow; put the commit into the policy"
            )
            yield Finding("revision-not-pinned", model.repo, detail, "warning")


def _rank(facts: ModelFacts, pinned: tuple[Pinned, ...]) -> tuple[bool, str, str]:
    demanded = any((p.repo, p.commit) == (facts.name, facts.revision) for p in pinned)
    return (not demanded, facts.name, facts.revision)


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208


def _ref(repository: Path, revision: str) -> str:
    path = repository / "refs" / revision
    if ".." in revision.split("/") or not path.is_file():
        return ""
    with path.open("rb") as stream:
        return stream.read(256).decode("utf-8", "replace").strip()
