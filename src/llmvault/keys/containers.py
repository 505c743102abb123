"""The authenticated encryption of restic's repositories: AES-256-CTR and Poly1305-AES.

What is sealed is ``IV (16 bytes) || ciphertext || MAC (16 bytes)``; the MAC is over the ciphertext,
its nonce is the IV. Specification: restic, "References", section "Keys, Encryption and MAC"
(https://restic.readthedocs.io/en/stable/100_references.html), after Bernstein, "The Poly1305-AES
message-authentication code", 2005.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from llmvault.core.errors import IntegrityError

IV_SIZE = 16
MAC_SIZE = 16
OVERHEAD = IV_SIZE + MAC_SIZE
_SLACK = 16  # the library asks for the room of one more block


@dataclass(frozen=True, slots=True)
class ContainerKey:
    """A repository's master key.

    Attributes:
        encrypt: 32 bytes for AES-256.
        mac_k: 16 bytes for AES-128, which makes the second half of each Poly1305 key.
        mac_r: 16 bytes, the first half of each Poly1305 key.
    """

    encrypt: bytes = field(repr=False)
    mac_k: bytes = field(repr=False)
    mac_r: bytes = field(repr=False)

    def open(self, sealed: bytes | memoryview) -> bytes:
        """Return what was sealed.

        Raises:
            IntegrityError: when it was changed, or sealed under another key.
        """
        iv, ciphertext = bytes(sealed[:IV_SIZE]), sealed[IV_SIZE:-MAC_SIZE]
        authenticator = Poly1305(self._one_time_key(iv))
        authenticator.update(ciphertext)
        try:
            authenticator.verify(bytes(sealed[-MAC_SIZE:]))
        except InvalidSignature as error:
            raise IntegrityError(
                "a container of the repository", "its authentication code is wrong"
            ) from error
        return self._cipher(iv).decryptor().update(ciphertext)

    def _cipher(self, iv: bytes) -> Cipher[CTR]:
        return Cipher(AES(self.encrypt), CTR(iv))

    def _one_time_key(self, iv: bytes) -> bytes:
        block = Cipher(AES(self.mac_k), ECB()).encryptor()  # noqa: S305  one block, as specified
        return self.mac_r + block.update(iv)


def parse_master_key(document: str) -> ContainerKey:
    """Return the key that restic prints as JSON.

    Raises:
        ValueError: when it is no such document.
    """
    try:
        raw = json.loads(document)
        key = ContainerKey(
            *(base64.b64decode(part) for part in (raw["encrypt"], raw["mac"]["k"], raw["mac"]["r"]))
        )
    except (KeyError, TypeError) as error:
        raise ValueError("no master key") from error
    if (len(key.encrypt), len(key.mac_k), len(key.mac_r)) != (32, 16, 16):
        raise ValueError("a master key has 32, 16 and 16 bytes")
    return key


class Sealer:
    """Seals many containers, one at a time, in memory that is used again.

    Args:
        largest: bytes of plaintext at most.
    """

    def __init__(self, key: ContainerKey, largest: int) -> None:
        self._key = key
        self._sealed = bytearray(largest + OVERHEAD + _SLACK)
        self._opened = bytearray(largest + _SLACK)

    def seal(self, plain: bytes | memoryview) -> memoryview:
        """Return the sealed plaintext; it stays valid until the next call.

        It is opened again and compared before it is returned, as restic does, so that a fault of
        memory or processor is not stored.

        Raises:
            IntegrityError: when it does not open to what it was made of.
        """
        iv, size = os.urandom(IV_SIZE), len(plain)
        room = memoryview(self._sealed)
        cipher = self._key._cipher(iv)
        room[:IV_SIZE] = iv
        cipher.encryptor().update_into(plain, room[IV_SIZE:])
        ciphertext = room[IV_SIZE : IV_SIZE + size]
        authenticator = Poly1305(self._key._one_time_key(iv))
        authenticator.update(ciphertext)
        room[IV_SIZE + size : size + OVERHEAD] = authenticator.finalize()
        cipher.decryptor().update_into(ciphertext, self._opened)
        if not self._opened.startswith(plain):  # compares as C does; views compare as Python does
            raise IntegrityError(
                "a container of the repository", "it does not open to what was sealed",
                "check this machine's memory and processor",
            )  # fmt: skip
        return room[: size + OVERHEAD]
