"""Writing many snapshots into a quick repository at once, as restic's format says.

``restic backup`` takes a third of a second for each; histories of thousands are written here. See
restic's design document: "Keys, Encryption and MAC", and "Snapshots".
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tests.fakes.quick_repository import PASSWORD

NO_TREE = "0" * 64


@dataclass(frozen=True)
class Keys:
    """The keys of a repository: for the cipher, and two for the authentication."""

    encrypt: bytes
    mac_k: bytes
    mac_r: bytes

    def seal(self, plain: bytes) -> bytes:
        """Return nonce, ciphertext and authentication code."""
        nonce = os.urandom(16)
        cipher = Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).encryptor()
        sealed = cipher.update(plain) + cipher.finalize()
        return nonce + sealed + Poly1305.generate_tag(self._one_time(nonce), sealed)

    def unseal(self, data: bytes) -> bytes:
        """Return what was sealed."""
        nonce, sealed, code = data[:16], data[16:-16], data[-16:]
        Poly1305.verify_tag(self._one_time(nonce), sealed, code)
        cipher = Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).decryptor()
        return cipher.update(sealed) + cipher.finalize()

    def _one_time(self, nonce: bytes) -> bytes:
        # restic authenticates with Poly1305-AES: the nonce goes through AES in a single block
        block = Cipher(algorithms.AES(self.mac_k), modes.ECB()).encryptor()
        return self.mac_r + block.update(nonce) + block.finalize()


def keys_of(repository: Path, password: str = PASSWORD) -> Keys:
    """Open a repository's first key file."""
    raw = json.loads(next((repository / "keys").iterdir()).read_text())
    derived = hashlib.scrypt(
        password.encode(),
        salt=base64.b64decode(raw["salt"]),
        n=raw["N"],
        r=raw["r"],
        p=raw["p"],
        dklen=64,
    )
    outer = Keys(derived[:32], derived[32:48], derived[48:])
    inner = json.loads(outer.unseal(base64.b64decode(raw["data"])))
    return Keys(
        base64.b64decode(inner["encrypt"]),
        base64.b64decode(inner["mac"]["k"]),
        base64.b64decode(inner["mac"]["r"]),
    )


def snapshot(
    time: datetime,
    *,
    host: str = "tests",
    tags: Sequence[str] = (),
    tree: str = NO_TREE,
    added: int = 0,
) -> dict[str, Any]:
    """Return a snapshot as restic stores it."""
    return {
        "time": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "tree": tree,
        "paths": ["/data"],
        "hostname": host,
        "username": "tests",
        "tags": list(tags),
        "program_version": "restic 0.18.0",
        "summary": {
            "backup_start": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "backup_end": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "data_added_packed": added,
            "total_files_processed": 1,
        },
    }


def write_snapshots(repository: Path, snapshots: Iterable[dict[str, Any]]) -> list[str]:
    """Write snapshots and return their ids."""
    keys, ids = keys_of(repository), []
    for one in snapshots:
        data = keys.seal(json.dumps(one).encode())
        name = hashlib.sha256(data).hexdigest()
        (repository / "snapshots" / name).write_bytes(data)
        ids.append(name)
    return ids


def point_id(time: datetime, number: int = 0) -> str:
    """Return the id of a recovery point that was begun at a time."""
    return f"rp-{time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{number:06x}"


def point_snapshots(
    identity: str,
    time: datetime,
    *,
    plan: str = "nightly",
    host: str = "tests",
    sources: Sequence[str] = ("model", "configs"),
    manifest: bool = True,
    tree: str = NO_TREE,
    added: int = 1000,
    tags: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the snapshots of a recovery point: one for each source, and the manifest's."""
    common = [f"llmvault:plan={plan}", f"llmvault:recovery-point={identity}", *tags]
    named = [f"llmvault:source={name}" for name in sources]
    named += ["llmvault:manifest"] if manifest else []
    return [
        snapshot(time, host=host, tags=[name, *common], tree=tree, added=added) for name in named
    ]
