"""Evidence of this installation: its ledger, key, catalog and policy as the slice's ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmvault import __version__
from llmvault.app.base import App
from llmvault.core.errors import VaultError
from llmvault.core.secrets import Secret, SecretRef, parse_secret_ref
from llmvault.evidence.ledger_view import TileView
from llmvault.evidence.run import EvidencePorts, Exported, ExportRequest, run_export
from llmvault.keys.signing import public_path, signature_holds, signing_key
from llmvault.ledger.files import LedgerFiles
from llmvault.policy.load import load_policy

_READABLE_HERE = ("env", "file", "credential")


def key_path(app: App) -> Path:
    """Return where the key that signs evidence is."""
    return app.settings.state / "keys" / "signing.pem"


def public_key(app: App) -> Path:
    """Return where the public half is, to be handed to whoever verifies."""
    return public_path(key_path(app))


def evidence_ports(app: App) -> EvidencePorts:
    """Return what making evidence works with.

    Raises:
        RefusedError: when others may read the signing key.
        UnavailableError: when it cannot be read or made.
    """
    signer = signing_key(key_path(app))
    return EvidencePorts(
        clock=app.clock,
        host=app.settings.host,
        version=__version__,
        load=lambda: load_policy(app.settings.policies, app.settings.environment),
        points=app.catalog.points,
        drills=app.catalog.drills,
        restores=app.catalog.restores,
        memory=app.memory,
        reports=app.settings.state / "reports",
        view=TileView(LedgerFiles(app.settings.state / "ledger"), signer),
        signer=signer,
        holds=signature_holds,
        secrets=lambda: dict(_secrets(app)),
        ledger=app.ledger,
    )


def export_evidence(app: App, request: ExportRequest) -> Exported:
    """Write a bundle; see ``run_export``."""
    return run_export(evidence_ports(app), request)


def _secrets(app: App) -> Iterator[tuple[str, Secret]]:
    """Yield the policy's secrets that can be read without running a command, by reference."""
    for reference in _references(dict(app.loaded.values)):
        with suppress(VaultError):  # what cannot be read here cannot get into a bundle from here
            yield str(reference), app.secrets.resolve(reference)


def _references(value: Any) -> Iterator[SecretRef]:  # noqa: ANN401  JSON values of any shape
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)
    elif isinstance(value, str) and value.partition(":")[0] in _READABLE_HERE:
        with suppress(ValueError):
            yield parse_secret_ref(value)
