"""What the functions of this package ask of the installation; :class:`llmvault.app.App` is one.

They take this instead of the class, so that the class may call them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from llmvault.core.clock import Clock
from llmvault.core.ids import Ids
from llmvault.core.secrets import SecretResolver
from llmvault.ledger.interface import Ledger
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.model import Policy
from llmvault.recovery_points.memory import Memory
from llmvault.restic.repo import Repository
from llmvault.settings import Settings

if TYPE_CHECKING:
    from llmvault.catalog.session import Catalog


class Installation(Protocol):
    """Settings and policy, with drivers behind them."""

    @property
    def settings(self) -> Settings:
        """Everything that is not policy."""

    @property
    def loaded(self) -> LoadedPolicy:
        """The policy that holds, and the files it was read from."""

    @property
    def policy(self) -> Policy:
        """What the policy says."""

    @property
    def clock(self) -> Clock:
        """Tells the time."""

    @property
    def ids(self) -> Ids:
        """Draws identifiers."""

    @property
    def secrets(self) -> SecretResolver:
        """Resolves references to secrets."""

    @property
    def ledger(self) -> Ledger:
        """Where everything that deletes, restores or releases is written down."""

    @property
    def catalog(self) -> Catalog:
        """What this installation knows."""

    @property
    def memory(self) -> Memory:
        """What this host remembers."""

    def repository(self, name: str) -> Repository:
        """Return a repository of the policy, with its secrets resolved."""
