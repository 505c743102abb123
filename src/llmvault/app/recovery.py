"""Recovering an installation on an empty machine: there is no policy yet, only settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from llmvault.app.base import App
from llmvault.app.ledger import key_files
from llmvault.app.retention import recover_retention
from llmvault.core.secrets import SCHEMES, Secret, parse_secret_ref
from llmvault.ledger.witnesses import Witness, build_witnesses
from llmvault.ledger.writer import TileLedger
from llmvault.policy.load import load_policy
from llmvault.recovery.place import Places
from llmvault.recovery.run import RecoveryPorts
from llmvault.restic.repo import Repository


def repository_at(
    app: App, address: str, password: str, environment: Mapping[str, str], name: str = "recovered"
) -> Repository:
    """Return a repository that no policy declares.

    Args:
        address: restic's, or a reference to a secret where it holds one.
        password: a reference.
        environment: variable -> reference, for the backend.

    Raises:
        ValueError: when a reference is none; its text is not repeated.
    """
    resolve = app.secrets.resolve
    scheme = address.partition(":")[0]
    url = resolve(parse_secret_ref(address)).reveal() if scheme in SCHEMES else address
    backend: dict[str, Secret] = {
        name: resolve(parse_secret_ref(one)) for name, one in environment.items()
    }
    return Repository(
        name=name,
        url=url,
        password=resolve(parse_secret_ref(password)),
        binary=app.settings.restic,
        cache=app.settings.state / "restic-cache",
        runner=app.runner,
        backend=backend,
    )


def recovery_ports(app: App, repository: Repository) -> RecoveryPorts:
    """Return what recovering from a repository works with."""
    from llmvault.catalog.session import open_catalog

    settings, keys = app.settings, key_files(app.settings)

    def others(policies: Path) -> Mapping[str, Callable[[], Repository]]:
        declared = replace(app, settings=replace(settings, policies=policies))
        return {name: partial(declared.repository, name) for name in declared.policy.repositories}

    def witnesses(policies: Path) -> Mapping[str, Witness]:
        declared = load_policy(policies, settings.environment).policy.ledger
        return build_witnesses(declared, app.runner)

    return RecoveryPorts(
        clock=app.clock,
        ids=app.ids,
        places=Places(settings.state, settings.policies),
        repository=repository,
        keys=keys,
        memory=app.memory,
        ledger=lambda: TileLedger(
            directory=settings.state / "ledger",
            key=keys.signing_key,
            verifiers=keys.verifiers,
            clock=app.clock,
            host=settings.host,
        ),
        catalog=lambda: open_catalog(settings.database),
        witnesses=witnesses,
        others=others,
        decisions=partial(recover_retention, app),
    )
