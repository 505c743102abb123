"""``ssh-keygen``: signing and verifying in the namespace of approvals."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from llmvault.access.model import NAMESPACE
from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.process import Command, Runner

_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class KeyGen:
    """OpenSSH's ``ssh-keygen``, 8.2 or newer (hardware keys)."""

    runner: Runner
    program: str = "ssh-keygen"

    def public_key(self, key: Path) -> str:
        """Return ``TYPE BASE64`` of a key: a private key's file, or its ``.pub``.

        Raises:
            PolicyError: when there is no key.
        """
        public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
        try:
            words = public.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(
                f"key {key}", f"its public half cannot be read: {error}", "give --key FILE"
            ) from error
        return " ".join(words[:2])

    def sign(self, key: Path, data: bytes) -> str:
        """Return the armoured signature of bytes; a hardware key waits for its touch meanwhile.

        With a key that has a passphrase, or a PIN, an agent must hold it.

        Raises:
            UnavailableError: when the key could not be used.
        """
        argv = (self.program, "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE)
        with tempfile.TemporaryDirectory(prefix="llmvault-") as place:
            file = Path(place) / "statement"
            file.write_bytes(data)
            done = self.runner.run(Command((*argv, str(file))), timeout=_TIMEOUT)
            signature = file.with_suffix(".sig")
            if done.exit_code != 0 or not signature.exists():
                said = " ".join(done.stderr.split()) or f"it exited {done.exit_code}"
                raise UnavailableError(
                    f"key {key}",
                    f"ssh-keygen did not sign: {said}",
                    "load the key into an agent, or sign by hand: llmvault approve --help",
                )
            return signature.read_text(encoding="ascii")

    def verifies(self, public_key: str, data: bytes, signature: str) -> str:
        """Return why a signature of bytes is not good; empty when it is."""
        argv = (self.program, "-Y", "verify", "-I", "approver", "-n", NAMESPACE)
        with tempfile.TemporaryDirectory(prefix="llmvault-") as place:
            signers, file = Path(place) / "signers", Path(place) / "signature"
            signers.write_text(f'approver namespaces="{NAMESPACE}" {public_key}\n')
            file.write_text(signature)
            command = Command((*argv, "-f", str(signers), "-s", str(file)))
            done = self.runner.run(command, stdin=data, timeout=_TIMEOUT)
        if done.exit_code == 0:
            return ""
        return " ".join((done.stderr or done.stdout).split()) or "ssh-keygen does not verify it"
