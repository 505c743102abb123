"""The safetensors header parser, against the real package and against hostile files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.safetensors import Header, parse_header, read_header
from tests.fakes.model_folder import HIDDEN, write_weights

DTYPES = (
    *("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
    *("I16", "U16", "F16", "BF16", "I32", "U32", "F32", "I64", "U64", "F64", "C64"),
    *("F4", "F6_E2M3", "F6_E3M2"),
)


def encode(document: object, data: int = 0, *, raw: bytes = b"") -> bytes:
    header = raw or json.dumps(document).encode()
    return struct.pack("<Q", len(header)) + header + bytes(data)


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def read(tmp_path: Path, content: bytes) -> Header:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return read_header(path, "model.safetensors")


def fault(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(HeaderError) as raised:
        read(tmp_path, content)
    assert raised.value.thing == "model.safetensors"
    assert raised.value.cause
    return raised.value.name


def accepted_by_the_real_package(content: bytes) -> bool:
    try:
        deserialize(content)  # type: ignore[no-untyped-call]  # its stub leaves the type out
    except SafetensorError:
        return False
    return True


def test_a_real_file_is_read(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "model.safetensors", ("a", "b", "c"))
    header = read_header(path, "model.safetensors")
    assert [tensor.name for tensor in header.tensors] == ["a", "b", "c"]
    assert header.tensors[0].elements == 8 * HIDDEN
    assert header.parameters == 3 * 8 * HIDDEN
    assert header.parameters_by_dtype == {"F32": 3 * 8 * HIDDEN}
    assert header.unknown_dtypes == ()


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    size = 8 << 30
    path.write_bytes(encode({"a": entry("U8", [size], 0, size)}))
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + size)
    assert read_header(path, "huge").parameters == size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [2, 3, 4, 8, 16, 32, 64])
def test_sizes_of_types_are_those_of_the_real_package(
    tmp_path: Path, dtype: str, size: int
) -> None:
    content = encode({"a": entry(dtype, [4], 0, size)}, size)
    if accepted_by_the_real_package(content):
        assert read(tmp_path, content).parameters == 4
    else:
        assert fault(tmp_path, content) == "header-shape"


def test_an_unknown_type_is_told_and_not_judged(tmp_path: Path) -> None:
    header = read(tmp_path, encode({"a": entry("F3_NEW", [4], 0, 7)}, 7))
    assert header.unknown_dtypes == ("F3_NEW",)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "header-truncated"),
        (b"\x01\x02\x03", "header-truncated"),
        (struct.pack("<Q", 50) + b"{}", "header-truncated"),
        (struct.pack("<Q", 1 << 63) + b"{}", "header-length"),
        (struct.pack("<Q", 100_000_001) + b"{}", "header-length"),
        (struct.pack("<Q", 0), "header-json"),
        (bytes(4096), "header-json"),
        (encode(None, raw=b"[]"), "header-json"),
        (encode(None, raw=b" {}"), "header-json"),
        (encode(None, raw=b"{}\0"), "header-json"),
        (encode(None, raw=b'{"a": NaN}'), "header-json"),
        (encode(None, raw=b'{"\xff": 1}'), "header-json"),
        (encode(None, raw=b'{"a":' + b"[" * 100_000), "header-json"),
        (encode(None, raw=b'{"a": ' + b"9" * 5000 + b"}"), "header-json"),
        (encode(None, raw=b'{"a":[' + b"[]," * 1_100_000 + b"0]}"), "header-json"),
        (encode({"__metadata__": {"format": 1}}), "header-json"),
        (encode({"__metadata__": []}), "header-json"),
        (encode({"a": 1}), "header-json"),
        (encode({"a": {}}), "header-json"),
        (encode({"a": {**entry("U8", [4], 0, 4), "dtype": 8}}, 4), "header-json"),
        (encode({"a": {**entry("U8", [4], 0, 4), "shape": [True]}}, 4), "header-json"),
        (encode({"a": {**entry("U8", [4], 0, 4), "shape": [4.0]}}, 4), "header-json"),
        (encode({"a": {**entry("U8", [4], 0, 4), "shape": [-4]}}, 4), "header-json"),
        (encode({"a": {**entry("U8", [4], 0, 4), "shape": [1 << 64]}}, 4), "header-json"),
        (encode({"a": {**entry("U8", [4], 0, 4), "data_offsets": [0]}}, 4), "header-json"),
        (encode({"a": entry("U8", [1 << 40, 1 << 40], 0, 4)}, 4), "header-shape"),
        (encode({"a": entry("U8", [1 << 40, 1 << 40, 0], 0, 0)}), "header-shape"),
        (encode({"a": entry("F32", [4], 0, 8)}, 8), "header-shape"),
        (encode({"a": entry("U8", [4], 4, 0)}, 4), "header-shape"),
        (encode({"a": entry("F4", [3], 0, 2)}, 2), "header-shape"),
        (
            encode({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, 6),
            "header-offsets",
        ),
        (
            encode({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 0, 4)}, 4),
            "header-offsets",
        ),
        (
            encode({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 5, 9)}, 9),
            "header-offsets",
        ),
        (encode({"a": entry("U8", [4], 4, 8)}, 8), "header-offsets"),
        (encode({"a": entry("U8", [400], 0, 400)}, 399), "header-truncated"),
        (encode({"a": entry("U8", [4], 0, 4)}, 5), "trailing-bytes"),
        (encode({}, 1), "trailing-bytes"),
    ],
)
def test_a_bad_header_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    assert fault(tmp_path, content) == name


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    one = json.dumps(entry("U8", [4], 0, 4))
    content = encode(None, 4, raw=f'{{"a": {one}, "a": {one}}}'.encode())
    assert fault(tmp_path, content) == "header-json"


def test_a_header_above_the_limit_is_refused_in_a_file_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 150_000_000))
    with path.open("r+b") as stream:
        stream.truncate(200_000_000)
    with pytest.raises(HeaderError) as raised:
        read_header(path, "model.safetensors")
    assert raised.value.name == "header-length"


def test_every_truncation_of_a_real_file_is_found(tmp_path: Path) -> None:
    content = write_weights(tmp_path / "whole.safetensors").read_bytes()
    for length in range(0, len(content), 7):
        assert fault(tmp_path, content[:length]) == "header-truncated"


def test_the_digest_covers_names_and_not_weights(tmp_path: Path) -> None:
    content = write_weights(tmp_path / "whole.safetensors", ("a",)).read_bytes()
    other_weights = content[:-4] + b"\1\2\3\4"
    other_name = content.replace(b'"a"', b'"b"')
    digest = read(tmp_path, content).sha256
    assert read(tmp_path, other_weights).sha256 == digest
    assert read(tmp_path, other_name).sha256 != digest


_offsets = st.integers(0, 12)
_entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "I8", "BF16", "F32", "F4"]),
        "shape": st.lists(st.integers(0, 4), max_size=3),
        "data_offsets": st.tuples(_offsets, _offsets).map(list),
    }
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), _entries, max_size=3), st.integers(0, 12))
def test_it_accepts_what_the_real_package_accepts(
    document: dict[str, object], data_size: int
) -> None:
    accepted = accepted_by_the_real_package(encode(document, data_size))
    raw = json.dumps(document).encode()
    try:
        parse_header(raw, len(raw), data_size, "x")
    except HeaderError:
        assert not accepted
    else:
        assert accepted


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 1 << 70))
def test_random_bytes_raise_nothing_else(raw: bytes, data_size: int) -> None:
    for text in (raw, b"{" + raw):
        try:
            parse_header(text, len(text), data_size, "x")
        except HeaderError as error:
            assert error.diagnostics()


@settings(deadline=None)
@given(st.data())
def test_mutations_raise_nothing_else(data: st.DataObject) -> None:
    document = {"__metadata__": {"format": "pt"}, "w": entry("F32", [2, 2], 0, 16)}
    raw = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = parse_header(bytes(raw), len(raw), 16, "x")
    except HeaderError as error:
        assert error.diagnostics()
    else:
        assert sum(tensor.end - tensor.begin for tensor in header.tensors) == 16
