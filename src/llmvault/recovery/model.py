"""What is kept of the installation in its repositories, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.find import COPY_KEY, COPY_SIZE_KEY

FORMAT = "llmvault/installation/1"
TAG, SIZE_TAG = COPY_KEY, COPY_SIZE_KEY
ROOT_TAG = "llmvault:ledger-root"

PATIENCE = 30.0
"""Seconds until a repository must have answered whoever only looks, or copies by the way."""

LONG_PATIENCE = 600.0
"""The same where somebody waits for it anyway; a large index may take that long to be read."""

# Folders of the state that hold no secret, and what cannot be made again. Keys are not among them.
# Manifests are in the repositories anyway: restic stores their content once.
KEPT_FOLDERS = ("access", "holds", "recovery-points", "reports", "retention")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a repository is known to hold of the installation.

    Attributes:
        identity: restic's id of the repository.
        snapshot: the newest copy in it.
        size: how many of the ledger's entries that has.
        policies: digest of the policy files that it has.
        stamped: how many entries the newest time stamp in it covers.
    """

    identity: str
    snapshot: str
    size: int
    policies: str
    stamped: int


@dataclass(frozen=True, slots=True)
class Tail:
    """What came since the last whole copy; a recovery point's manifest carries it.

    Attributes:
        origin: names the ledger.
        first: index of the first of the entries.
        entries: of the ledger, up to its checkpoint.
        note: the checkpoint.
        keys: public keys so far, a line each.
        policies: name -> text of the policy files; None where the last whole copy has the same.
    """

    origin: str
    host: str
    first: int
    entries: tuple[bytes, ...]
    note: str
    keys: tuple[str, ...]
    policies: Mapping[str, str] | None

    @property
    def size(self) -> int:
        """How many entries the ledger has at its checkpoint."""
        return self.first + len(self.entries)


@dataclass(frozen=True, slots=True)
class CopyResult:
    """How copying the installation into one repository went.

    Attributes:
        size: how many of the ledger's entries it is known to hold now.
    """

    repository: str
    verdict: Verdict
    detail: str
    size: int


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """What came back.

    Attributes:
        entries: of the ledger, as they were in the repository.
        put_in_place: False where the checks failed: then nothing was.
        passed_over: places that keep checkpoints and told nothing, where others did.
    """

    verdict: Verdict
    origin: str
    entries: int
    recovery_points: int
    drills: int
    policies: tuple[str, ...]
    checks: tuple[Check, ...]
    put_in_place: bool
    passed_over: tuple[Check, ...] = ()
