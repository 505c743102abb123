"""Locks in the repository of :mod:`tests.fakes.quick_repository`, as restic writes them.

Whose they are and of when can be chosen, so that a lock of another host exists without another
host. Encryption is that of restic's design document ("Keys, Encryption and MAC").
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tests.fakes.quick_repository import PASSWORD

_CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF


def write_lock(
    repository: Path, *, host: str, process: int, renewed: datetime, exclusive: bool
) -> str:
    """Write a lock and return its id."""
    text = {
        "time": renewed.isoformat(),
        "exclusive": exclusive,
        "hostname": host,
        "username": "tests",
        "pid": process,
    }
    sealed = _seal(_master_key(repository), json.dumps(text).encode())
    name = hashlib.sha256(sealed).hexdigest()
    (repository / "locks" / name).write_bytes(sealed)
    return name


def _master_key(repository: Path) -> tuple[bytes, bytes, bytes]:
    (file,) = (repository / "keys").iterdir()
    kept = json.loads(file.read_text())
    key = hashlib.scrypt(
        PASSWORD.encode(),
        salt=base64.b64decode(kept["salt"]),
        n=kept["N"],
        r=kept["r"],
        p=kept["p"],
        dklen=64,
    )
    sealed = base64.b64decode(kept["data"])
    raw = json.loads(_ctr(key[:32], sealed[:16], sealed[16:-16]))
    decode = base64.b64decode
    return decode(raw["encrypt"]), decode(raw["mac"]["k"]), decode(raw["mac"]["r"])


def _seal(keys: tuple[bytes, bytes, bytes], text: bytes) -> bytes:
    encrypt, mac_key, mac_r = keys
    nonce = os.urandom(16)
    hidden = _ctr(encrypt, nonce, text)
    encryptor = Cipher(algorithms.AES(mac_key), modes.ECB()).encryptor()
    clamped = (int.from_bytes(mac_r, "little") & _CLAMP).to_bytes(16, "little")
    one_time = clamped + encryptor.update(nonce) + encryptor.finalize()
    return nonce + hidden + Poly1305.generate_tag(one_time, hidden)


def _ctr(key: bytes, nonce: bytes, data: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()
    return cipher.update(data) + cipher.finalize()
