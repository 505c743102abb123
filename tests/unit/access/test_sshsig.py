"""SSH signatures taken apart, those of hardware keys too; ssh-keygen itself is the judge."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.access.keygen import KeyGen
from llmvault.access.model import NAMESPACE
from llmvault.access.sshsig import fingerprint, parse_signature
from llmvault.core.errors import IntegrityError
from llmvault.core.process import LocalRunner
from tests.fakes.authenticator import TOUCHED, VERIFIED, Authenticator, EcdsaAuthenticator

MESSAGE = b'{"approves":"..."}'


@pytest.fixture
def keygen() -> KeyGen:
    return KeyGen(LocalRunner(dict(os.environ)))


@pytest.fixture(params=[Authenticator, EcdsaAuthenticator], ids=["ed25519", "ecdsa"])
def hardware(request: pytest.FixtureRequest) -> Authenticator:
    made: Authenticator = request.param()
    return made


@pytest.mark.parametrize("flags", [0, TOUCHED, VERIFIED, TOUCHED | VERIFIED])
def test_flags_and_counter_of_hardware_keys(
    keygen: KeyGen, hardware: Authenticator, flags: int
) -> None:
    signed = hardware.sign(MESSAGE, flags=flags, namespace=NAMESPACE.encode())
    # this is why the flags are read here: ssh-keygen finds all of these good
    assert keygen.verifies(hardware.public_key, MESSAGE, signed) == ""
    found = parse_signature(signed)
    assert found.hardware
    assert found.public_key == hardware.public_key
    assert (found.touched, found.verified) == (bool(flags & TOUCHED), bool(flags & VERIFIED))
    assert found.counter == hardware.counter == 8
    assert found.namespace == NAMESPACE


def test_flags_cannot_be_forged(keygen: KeyGen, hardware: Authenticator) -> None:
    signed = hardware.sign(MESSAGE, flags=0, namespace=NAMESPACE.encode())
    data = bytearray(base64.b64decode("".join(signed.splitlines()[1:-1])))
    assert data[-5] == 0
    data[-5] = TOUCHED | VERIFIED
    forged = "\n".join(
        ["-----BEGIN SSH SIGNATURE-----", base64.b64encode(data).decode(),
         "-----END SSH SIGNATURE-----"]
    )  # fmt: skip
    assert parse_signature(forged).touched
    assert keygen.verifies(hardware.public_key, MESSAGE, forged) != ""


def test_a_plain_key(keygen: KeyGen, tmp_path: Path) -> None:
    key = tmp_path / "key"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(argv, check=True)
    signed = keygen.sign(key, MESSAGE)
    found = parse_signature(signed)
    assert found.public_key == keygen.public_key(key)
    assert not found.hardware
    assert (found.touched, found.verified, found.counter) == (False, False, 0)
    assert keygen.verifies(found.public_key, MESSAGE, signed) == ""
    assert keygen.verifies(found.public_key, MESSAGE + b" ", signed) != ""
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{key}.pub"], check=True, capture_output=True, text=True
    )
    assert fingerprint(found.public_key) in shown.stdout


def test_another_namespace_is_not_ours(keygen: KeyGen, hardware: Authenticator) -> None:
    signed = hardware.sign(MESSAGE, flags=TOUCHED, namespace=b"git")
    assert parse_signature(signed).namespace == "git"
    assert keygen.verifies(hardware.public_key, MESSAGE, signed) != ""


WHOLE = Authenticator().sign(MESSAGE, flags=5, namespace=b"n")


@given(st.data())
def test_what_is_cut_or_altered_is_told_as_damage(data: st.DataObject) -> None:
    raw = base64.b64decode("".join(WHOLE.splitlines()[1:-1]))
    cut = data.draw(st.integers(0, len(raw) - 1))
    extra = data.draw(st.binary(min_size=1, max_size=4))
    for bad in (raw[:cut], raw + extra):
        text = base64.b64encode(bad).decode()
        with pytest.raises(IntegrityError):
            parse_signature(f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----")


@given(st.text())
def test_any_text_is_told_as_damage(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_signature(text)
