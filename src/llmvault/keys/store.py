"""The signing keys of this installation, in files for their owner alone.

``ledger.key`` holds the key that signs, as one line; ``ledger.pub`` every public key so far, one
line each, the newest last.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.core.files import write_durably
from llmvault.keys.note import (
    SigningKey,
    VerifierKey,
    new_signing_key,
    parse_signer,
    parse_verifier,
)


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The directory ``keys`` of the state."""

    directory: Path

    @property
    def private_path(self) -> Path:
        """The file with the secret."""
        return self.directory / "ledger.key"

    @property
    def public_path(self) -> Path:
        """The file with every public key so far."""
        return self.directory / "ledger.pub"

    def exists(self) -> bool:
        """Whether there is a signing key."""
        return self.private_path.exists()

    def signing_key(self) -> SigningKey:
        """Return the key that signs.

        Raises:
            UnavailableError: when there is none.
            RefusedError: when others than its owner may read it.
            IntegrityError: when the file holds no key.
        """
        return _read_private(self.private_path)

    def verifiers(self) -> tuple[VerifierKey, ...]:
        """Return every public key so far, the newest last.

        Raises:
            UnavailableError: when they cannot be read.
            IntegrityError: when a line is no key.
        """
        try:
            lines = self.public_path.read_text().splitlines()
        except OSError as error:
            raise UnavailableError(
                f"{self.public_path}", error.strerror or str(error), "llmvault init makes a key"
            ) from error
        return tuple(parse_verifier(line) for line in lines if line)

    def make(self, name: str) -> SigningKey:
        """Make the first key, or return the one that is there."""
        if self.exists():
            return self.signing_key()
        return self._keep(new_signing_key(name), self.known())

    def rotate(self) -> tuple[SigningKey, SigningKey | None]:
        """Make a new key of the same name; return it and the old one, None where that is lost."""
        known = self.known()
        if not known:
            raise UnavailableError("signing key", "there is none yet", "run: llmvault init")
        old = self.signing_key() if self.exists() else None
        return self._keep(new_signing_key(known[-1].name), known), old

    def replace_public(self, keys: Sequence[VerifierKey]) -> None:
        """Write the public keys anew, e.g. those that came out of a repository."""
        text = "".join(f"{key.text()}\n" for key in keys)
        write_durably(self.public_path, text.encode(), mode=0o644)

    def known(self) -> tuple[VerifierKey, ...]:
        """Return the public keys so far; none where there is no file."""
        return self.verifiers() if self.public_path.exists() else ()

    def _keep(self, key: SigningKey, known: Sequence[VerifierKey]) -> SigningKey:
        # the public key first: a key that signed and is not known would look forged
        self.replace_public([*known, key.verifier])
        write_durably(self.private_path, f"{key.text()}\n".encode())
        return key


def _read_private(path: Path) -> SigningKey:
    thing = f"signing key {path}"
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except FileNotFoundError as error:
        raise UnavailableError(
            thing, "it is missing", "bring it back, or go on with a new one: llmvault keys rotate"
        ) from error
    except OSError as error:
        raise UnavailableError(thing, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise IntegrityError(thing, "it is no text") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise RefusedError(
            thing,
            f"others may read it (mode {stat.S_IMODE(mode):04o})",
            f"if nobody has: chmod 600 {path}; else: llmvault keys rotate",
        )
    return parse_signer(text)
