"""Changing the key that signs the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from llmvault.core.errors import RefusedError, VaultError
from llmvault.keys.note import VerifierKey
from llmvault.keys.store import KeyFiles
from llmvault.ledger.writer import TileLedger


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was changed.

    Attributes:
        signed_over: whether the old key signed the head that tells of the new one.
        index: the entry that tells of it.
    """

    new: VerifierKey
    old: VerifierKey
    signed_over: bool
    index: int


def rotate_key(ledger: TileLedger, keys: KeyFiles) -> Rotation:
    """Make a new key, record both, and let the old one sign that head where it is still there.

    With the old key's signature whoever trusts it can follow to the new one. Without it (the key
    was lost) a checkpoint that is kept outside is what ties the ledger to its past.

    Raises:
        IntegrityError: when the ledger's head is not signed by a known key.
    """
    before = keys.verifiers()[-1]
    try:
        keys.signing_key()
        usable = True
    except RefusedError:
        usable = True  # others could read it: reason enough to change it
        keys.private_path.chmod(0o600)
    except VaultError:
        usable = False
        keys.private_path.unlink(missing_ok=True)
    new, old = keys.rotate()
    index = ledger.append(
        "key.rotated",
        {"new": new.verifier.text(), "old": before.text(), "old_signs": usable},
    )
    ledger.sign_over(old)
    return Rotation(new.verifier, before, old is not None, index)
