"""Copying this installation into its repositories."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmvault.app.installation import Installation
from llmvault.core.errors import VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.ledger.files import LedgerFiles
from llmvault.recovery.copying import CopyPorts, copy_whole, tail_of
from llmvault.recovery.model import LONG_PATIENCE, CopyResult
from llmvault.recovery.store import CopyStore
from llmvault.recovery.tail import tail_values

_log = logging.getLogger(__name__)


def copy_ports(
    app: Installation, names: Iterable[str] | None = None, patience: float = LONG_PATIENCE
) -> CopyPorts:
    """Return what copying works with: the named repositories, or all that are not copies.

    Copies of other repositories get the installation with everything else that they hold.
    """
    from llmvault.app.ledger import key_files, policy_files

    wanted = names or [
        name for name, declared in app.policy.repositories.items() if declared.copy_of is None
    ]
    state = app.settings.state
    identities: dict[str, str] = {}
    for plan in app.policy.plans:
        identities |= app.memory.last_run(plan).repositories
    return CopyPorts(
        host=app.settings.host,
        state=state,
        store=CopyStore(state),
        ledger=LedgerFiles(state / "ledger"),
        repositories={name: partial(app.repository, name) for name in wanted},
        identities=identities,
        policies=lambda: policy_files(app.loaded),
        public_keys=lambda: [key.text() for key in key_files(app.settings).verifiers()],
        catalog=lambda: app.catalog.dump(),
        patience=patience,
    )


def copy_installation(app: Installation, patience: float = LONG_PATIENCE) -> tuple[CopyResult, ...]:
    """Copy this installation into every repository that is not itself a copy.

    Args:
        patience: seconds until a repository must have answered.

    Raises:
        VaultError: when nothing can be copied: a damaged ledger, a policy file that is gone.
    """
    return copy_whole(copy_ports(app, patience=patience))


def copy_checks(app: Installation, patience: float = LONG_PATIENCE) -> tuple[Check, ...]:
    """Copy this installation; return a check ``copied`` for each repository."""
    try:
        results = copy_installation(app, patience)
    except (VaultError, OSError) as error:
        return (Check("copied", "", Verdict.UNPROVEN, f"the ledger was not copied: {error}"),)
    return tuple(Check("copied", one.repository, one.verdict, one.detail) for one in results)


@dataclass
class Carried:
    """What the manifest of a recovery point carries; a whole copy when that is too much.

    That a copy cannot be made never keeps a backup from being made; the next one tries again.
    """

    app: Installation
    names: tuple[str, ...]
    due: bool = False

    def __call__(self) -> Mapping[str, Any]:
        """Return what came since the last whole copy, as JSON values."""
        try:
            tail = tail_of(copy_ports(self.app, self.names))
        except (VaultError, OSError, UnicodeDecodeError) as error:
            _log.warning("the recovery point does not carry the ledger: %s", error)
            self.due = True
            return {}
        self.due = tail is None
        return {} if tail is None else tail_values(tail)

    def copy_if_due(self) -> None:
        """Copy the whole where the recovery point could not carry what is new."""
        if not self.due:
            return
        try:
            results = copy_whole(copy_ports(self.app, self.names))
        except (VaultError, OSError) as error:
            _log.warning("this installation was not copied: %s", error)
            return
        for one in results:
            if one.verdict is not Verdict.PROVEN:
                _log.warning("this installation was not copied: %s", one.detail)


def carried_by(app: Installation, names: Iterable[str]) -> Carried:
    """Return what a recovery point in these repositories carries of the installation."""
    return Carried(app, tuple(names))


def forget_copies(app: Installation) -> None:
    """Let the next whole copy take whatever repositories it finds."""
    store = CopyStore(app.settings.state)
    with store.exclusive():
        store.remember({})
