"""The GGUF header parser, against the real package and against hostile files."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import gguf as real
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmvault.sources.formats import gguf
from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.gguf_types import TENSOR_TYPES
from tests.fakes.gguf_model import write_embedding_model, write_language_model

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def build(
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    *,
    data: int = 0,
    counts: tuple[int, int] | None = None,
    magic: bytes = b"GGUF",
    version: int = 3,
) -> bytes:
    tensor_count, pair_count = counts or (len(tensors), len(pairs))
    head = magic + struct.pack("<IQQ", version, tensor_count, pair_count)
    body = head + b"".join(pairs) + b"".join(tensors)
    return body + bytes(-len(body) % 32) + bytes(data)


def parse(content: bytes) -> gguf.Header:
    return gguf.parse_header(io.BytesIO(content), len(content), "model.gguf")


def fault(content: bytes) -> str:
    with pytest.raises(HeaderError) as raised:
        parse(content)
    assert raised.value.thing == "model.gguf"
    assert raised.value.cause
    return raised.value.name


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("gguf") / "model.gguf")


def test_sizes_of_types_are_those_of_the_real_package() -> None:
    ours = {number: (known.block, known.size) for number, known in TENSOR_TYPES.items()}
    theirs = {kind.value: sizes for kind, sizes in real.GGML_QUANT_SIZES.items()}
    assert ours == theirs
    assert {number: known.name for number, known in TENSOR_TYPES.items()} == {
        kind.value: kind.name for kind in real.GGMLQuantizationType
    }


def test_it_reads_what_the_real_reader_reads(language_model: Path) -> None:
    header = gguf.read_header(language_model, "model.gguf")
    reader = real.GGUFReader(language_model)
    assert header.architecture == "llama"
    assert header.metadata["llama.embedding_length"] == 64
    assert header.quantization == "F32"
    assert {(t.name, t.shape, t.size) for t in header.tensors} == {
        (t.name, tuple(t.shape.tolist()), int(t.n_bytes)) for t in reader.tensors
    }
    assert header.parameters == sum(int(t.n_elements) for t in reader.tensors)


def test_an_embedding_model_is_read(tmp_path: Path) -> None:
    header = gguf.read_header(write_embedding_model(tmp_path / "bert.gguf"), "bert.gguf")
    assert header.architecture == "bert"
    assert header.metadata["bert.embedding_length"] == 64


def test_big_endian_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    writer = real.GGUFWriter(path, "llama", endianess=real.GGUFEndian.BIG)
    writer.add_embedding_length(32)
    writer.add_tensor("w", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = gguf.read_header(path, "big.gguf")
    assert header.metadata["llama.embedding_length"] == 32
    assert header.parameters == 128


def test_version_2_is_read() -> None:
    assert parse(build((), (tensor("w", (4,), 0, 0),), data=16, version=2)).version == 2


def test_a_file_without_tensors_is_a_vocabulary() -> None:
    content = build((pair("general.architecture", STRING, text("llama")),))
    assert parse(content[: content.rindex(b"llama") + 5]).tensors == ()


def test_arrays_and_long_texts_are_passed_over() -> None:
    words = struct.pack("<IQ", STRING, 3) + text("a") + text("") + text("long" * 300_000)
    nested = struct.pack("<IQ", ARRAY, 2) + 2 * (struct.pack("<IQ", U32, 2) + bytes(8))
    pairs = (
        pair("words", ARRAY, words),
        pair("nested", ARRAY, nested),
        pair("template", STRING, text("x" * 5_000_000)),
        pair("last", U32, struct.pack("<I", 7)),
    )
    header = parse(build(pairs, (tensor("w", (4,), 0, 0),), data=16))
    assert header.metadata == {"last": 7}


def test_the_digest_covers_the_vocabulary_and_not_the_weights(language_model: Path) -> None:
    content = language_model.read_bytes()
    digest = parse(content).sha256
    assert parse(content[:-4] + b"\1\2\3\4").sha256 == digest
    assert parse(content.replace(b"<|end|>", b"<|fin|>")).sha256 != digest


def test_an_unknown_type_is_told_and_not_judged() -> None:
    header = parse(build((), (tensor("w", (4,), 99, 0),), data=16))
    assert header.unknown_dtypes == ("type-99",)


OVERLAP = "header-offsets"
GOOD = tensor("w", (4,), 0, 0)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "header-truncated"),
        (b"GGU", "header-truncated"),
        (b"GGML" + bytes(60), "header-magic"),
        (bytes(4096), "header-magic"),
        (build(version=1), "header-version"),
        (build(version=99), "header-version"),
        (build(version=0), "header-version"),
        (build(counts=(1 << 60, 0)), "header-count"),
        (build(counts=(0, 1 << 60)), "header-count"),
        (build(counts=(200_000, 0)), "header-truncated"),
        (build(counts=(0, 60_000)), "header-truncated"),
        (build((text(b"k" * 70_000) + bytes(8),)), "header-length"),
        (build((struct.pack("<Q", 1 << 62),)), "header-length"),
        (build((text(b"\xff\xfe") + bytes(8),)), "header-text"),
        (build((pair("k", 77, b""),)), "header-type"),
        (build((pair("k", STRING, struct.pack("<Q", 1 << 62)),)), "header-truncated"),
        (build((pair("k", ARRAY, struct.pack("<IQ", 77, 1)),)), "header-type"),
        (build((pair("k", ARRAY, struct.pack("<IQ", U64, 1 << 61)),)), "header-truncated"),
        (build((pair("k", ARRAY, struct.pack("<IQ", STRING, 1 << 61)),)), "header-truncated"),
        (build((pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9),)), "header-type"),
        (build((pair("k", U32, bytes(4)), pair("k", U32, bytes(4)))), "header-duplicate"),
        (build((pair("general.alignment", U32, bytes(4)),)), "header-alignment"),
        (build((pair("general.alignment", U32, struct.pack("<I", 12)),)), "header-alignment"),
        (build((pair("general.alignment", BOOL, b"\1"),)), "header-alignment"),
        (build((pair("general.alignment", STRING, text("32")),)), "header-alignment"),
        (build((), (GOOD, tensor("w", (4,), 0, 32)), data=64), "header-duplicate"),
        (build((), (tensor("w", (1, 1, 1, 1, 1), 0, 0),), data=64), "header-shape"),
        (build((), (tensor("w", (1 << 40, 1 << 40), 0, 0),), data=64), "header-shape"),
        (build((), (tensor("w", (31,), 2, 0),), data=64), "header-shape"),
        (build((), (tensor("w", (4,), 0, 8),), data=64), "header-alignment"),
        (build((), (GOOD, tensor("v", (4,), 0, 0)), data=64), "header-offsets"),
        (
            build((), (tensor("w", (16,), 0, 0), tensor("v", (4,), 0, 32)), data=99),
            "header-offsets",
        ),
        (build((), (tensor("w", (4,), 0, 1 << 62),), data=64), "header-truncated"),
        (build((), (GOOD,), data=15), "header-truncated"),
    ],
)
def test_a_bad_header_is_named(content: bytes, name: str) -> None:
    assert fault(content) == name


def test_every_truncation_of_a_real_file_is_found(language_model: Path) -> None:
    content = language_model.read_bytes()
    for length in (*range(0, 12_000, 61), *range(12_000, len(content), 9973), len(content) - 1):
        assert fault(content[:length]) == "header-truncated"


def test_a_header_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    endless = pair("k", ARRAY, struct.pack("<IQ", STRING, 1 << 28))
    path.write_bytes(build((endless,)))
    with path.open("r+b") as stream:
        stream.truncate(8 << 30)
    with pytest.raises(HeaderError) as raised:
        gguf.read_header(path, "model.gguf")
    assert raised.value.name == "header-length"


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_raise_nothing_else(raw: bytes) -> None:
    for content in (raw, b"GGUF\3\0\0\0" + raw, build(data=0)[:8] + raw):
        try:
            parse(content)
        except HeaderError as error:
            assert error.diagnostics()


_SAMPLE = build(
    (
        pair("general.architecture", STRING, text("llama")),
        pair("llama.embedding_length", U32, struct.pack("<I", 64)),
        pair("tokens", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text("b")),
        pair("scale", F32, struct.pack("<f", 1.5)),
    ),
    (tensor("a.weight", (32, 2), 2, 0), tensor("b.weight", (4,), 0, 64)),
    data=80,
)


@settings(deadline=None)
@given(st.data())
def test_mutations_raise_nothing_else(data: st.DataObject) -> None:
    content = bytearray(_SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = parse(bytes(content))
    except HeaderError as error:
        assert error.diagnostics()
    else:
        assert len(header.sha256) == 64
