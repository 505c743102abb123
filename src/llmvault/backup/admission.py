"""Which repositories a run may write to: those that are what they are declared to be.

Asking a repository for its id costs half a second of key derivation. One in which restic finds a
parent snapshot of ours has proved itself, so a repository is asked only before something is written
to it that has no parent there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from llmvault.core.errors import VaultError
from llmvault.recovery_points.model import LastRun
from llmvault.recovery_points.ownership import TAG, refuse_foreign, refuse_replaced
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository


@dataclass(slots=True)
class Admission:
    """What one run of a plan has learnt of its repositories.

    Attributes:
        identities: repository name -> id, of those that have proved themselves.
        refused: repository name -> why nothing more is written to it.
    """

    plan: str
    host: str
    last: LastRun
    identities: dict[str, str] = field(default_factory=dict)
    refused: dict[str, VaultError] = field(default_factory=dict)
    _listed: dict[str, tuple[Snapshot, ...]] = field(default_factory=dict)

    def ask(self, repositories: Iterable[Repository]) -> None:
        """Ask those that have neither proved themselves nor been refused, at the same time."""
        settled = {*self.identities, *self.refused}
        unknown = [repository for repository in repositories if repository.name not in settled]
        if unknown:
            with ThreadPoolExecutor(len(unknown)) as pool:
                list(pool.map(self._ask, unknown))

    def ask_parentless(self, repositories: Iterable[Repository], source: str) -> None:
        """Ask those in which no parent of this source can prove who they are."""
        known = self.last.parents.get(source, {}).keys() & self.last.repositories.keys()
        self.ask(repository for repository in repositories if repository.name not in known)

    def proved(self, repositories: Iterable[str]) -> None:
        """Hear that a parent was found in these."""
        for name in repositories:
            if name in self.last.repositories:
                self.identities[name] = self.last.repositories[name]

    def usable(self, repositories: Mapping[str, Repository]) -> dict[str, Repository]:
        """Return the repositories that were not refused.

        Raises:
            VaultError: why one was refused, when none is left.
        """
        left = {name: one for name, one in repositories.items() if name not in self.refused}
        if not left:
            raise next(self.refused[name] for name in repositories)
        return left

    def newest(self, repository: Repository, source: str, *, but: str = "") -> str:
        """Return the newest snapshot of a source that this host made, but for one; else empty."""
        wanted = (f"{TAG}plan={self.plan}", f"{TAG}source={source}")
        listed = self._listed.get(repository.name)
        if listed is None:
            listed = repository.snapshots(wanted)
        fitting = [s.id for s in listed if s.host == self.host and {*wanted} <= {*s.tags}]
        return next((found for found in reversed(fitting) if found != but), "")

    def parent_lost(self, repository: Repository, source: str, parent: str) -> str:
        """Return what to compare with instead of a parent that is gone; empty for nothing.

        Raises:
            VaultError: when it is not the repository it was, or cannot be asked.
        """
        self._ask(repository)
        if repository.name in self.refused:
            raise self.refused[repository.name]
        return self.newest(repository, source, but=parent)

    def _ask(self, repository: Repository) -> None:
        try:
            self.identities[repository.name] = self._identify(repository)
        except VaultError as error:
            self.refused[repository.name] = error

    def _identify(self, repository: Repository) -> str:
        expected = self.last.repositories.get(repository.name, "")
        snapshots: tuple[Snapshot, ...] = ()
        if expected:
            identity = repository.config_id()
        else:
            identity, snapshots = _id_and_snapshots(repository)
            self._listed[repository.name] = snapshots
        refuse_replaced(repository.name, identity, expected)
        refuse_foreign(repository.name, snapshots)
        return identity


def _id_and_snapshots(repository: Repository) -> tuple[str, tuple[Snapshot, ...]]:
    """Ask both at the same time: each is half a second of key derivation on a core of its own."""
    with ThreadPoolExecutor(1) as pool:
        listed = pool.submit(repository.snapshots)
        return repository.config_id(), listed.result()
