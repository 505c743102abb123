"""The signing key's file, and signatures held against openssl's."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.keys.signing import public_path, signature_holds, signing_key


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"
    key = signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing_key(path).public_pem == key.public_pem
    assert public_path(path).read_bytes() == key.public_pem
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "signing.pem", "signing.pub.pem",
    ]  # fmt: skip
    assert "PRIVATE" not in repr(key)


def test_signatures_hold_for_their_bytes_and_key_alone(tmp_path: Path) -> None:
    key, other = signing_key(tmp_path / "a.pem"), signing_key(tmp_path / "b.pem")
    signature = key.sign(b"what was done")
    assert signature_holds(key.public_pem, b"what was done", signature)
    assert not signature_holds(key.public_pem, b"what was not", signature)
    assert not signature_holds(other.public_pem, b"what was done", signature)
    assert not signature_holds(key.public_pem, b"what was done", b"")
    assert not signature_holds(b"nonsense", b"what was done", signature)


def test_openssl_accepts_them(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("not run: openssl is not installed")
    key = signing_key(tmp_path / "key.pem")
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "signature").write_bytes(key.sign(b"data"))
    subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub.pem", "-rawin", "-in",
         "data", "-sigfile", "signature"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    signing_key(path)
    path.chmod(0o640)
    with pytest.raises(RefusedError, match="others may read it"):
        signing_key(path)


def test_what_is_no_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("nonsense")
    path.chmod(0o600)
    with pytest.raises(IntegrityError, match="cannot be read as a key"):
        signing_key(path)
    assert path.read_text() == "nonsense"


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "key.pem"
    pem = X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(IntegrityError, match="no Ed25519 key"):
        signing_key(path)
    assert not signature_holds(pem, b"", b"")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="signing key"):
        signing_key(tmp_path / "file" / "key.pem")
