"""Containers of restic's repositories."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.errors import IntegrityError
from llmvault.keys.containers import OVERHEAD, ContainerKey, Sealer, parse_master_key

KEY = ContainerKey(bytes(range(32)), bytes(range(16)), bytes(range(16, 32)))


def test_the_authenticator_is_poly1305_aes() -> None:
    """Appendix B of Bernstein's paper, first example."""
    key = ContainerKey(
        bytes(32),
        bytes.fromhex("ec074c835580741701425b623235add6"),
        bytes.fromhex("851fc40c3467ac0be05cc20404f3f700"),
    )
    nonce = bytes.fromhex("fb447350c4e868c52ac3275cf9d4327e")
    authenticator = Poly1305(key._one_time_key(nonce))
    authenticator.update(bytes.fromhex("f3f6"))
    assert authenticator.finalize().hex() == "f4c633c3044fc145f84f335cb81953de"


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_what_was_sealed_opens(texts: list[bytes]) -> None:
    sealer = Sealer(KEY, 300)
    for plain in texts:
        sealed = bytes(sealer.seal(plain))
        assert len(sealed) == len(plain) + OVERHEAD
        assert KEY.open(sealed) == plain


@given(st.binary(min_size=1, max_size=64), st.data())
def test_every_changed_bit_is_found(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Sealer(KEY, 64).seal(plain))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError, match="authentication code"):
        KEY.open(bytes(sealed))


def test_the_same_text_is_never_sealed_the_same() -> None:
    sealer = Sealer(KEY, 8)
    assert len({bytes(sealer.seal(b"the same")) for _ in range(50)}) == 50


def document(encrypt: bytes = bytes(32), k: bytes = bytes(16), r: bytes = bytes(16)) -> str:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return json.dumps({"mac": {"k": text(k), "r": text(r)}, "encrypt": text(encrypt)})


def test_a_master_key_is_read_and_never_shown() -> None:
    key = parse_master_key(document(encrypt=b"e" * 32, k=b"k" * 16, r=b"r" * 16))
    assert (key.encrypt, key.mac_k, key.mac_r) == (b"e" * 32, b"k" * 16, b"r" * 16)
    assert repr(key) == "ContainerKey()"


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "no", document(encrypt=b"short"), document(k=b""), document(r=bytes(17))],
)
def test_what_is_no_master_key(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_master_key(text)
