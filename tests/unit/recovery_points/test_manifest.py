"""The manifest as bytes: it round-trips, and nothing that was altered is read."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.manifest import (
    FORMAT,
    TornManifestError,
    decode,
    encode,
    file_section,
    header,
    pack_vector,
    section_digest,
    unpack_vector,
)
from llmvault.recovery_points.model import FileRecord, Manifest
from llmvault.sources.interface import CollectionFacts, Finding, ModelFacts, Observation
from tests.fakes.manifests import file_record, file_records, manifest, source_record

NOT_UTF8 = os.fsdecode(b"caf\xe9")
OBSERVATION = Observation(
    findings=(Finding("pickle-weights", "a.bin", "unsafe to load", "warning"),),
    models=(ModelFacts("acme/tiny", "safetensors", revision="ab" * 20, parameters=10**12),),
    collections=(
        CollectionFacts(
            "passages",
            3,
            2,
            sample_digests={"1": "ef" * 32},
            sample_vectors={"1": (0.5, -1.25), "é": (0.0, 3.0)},
            settings={"hnsw:space": "cosine"},
        ),
    ),
    versions={"chromadb": "1.5.0"},
    details={"shards": [1, 2], "nested": {"share": 0.25, "none": None, "yes": True}},
)


def small() -> Manifest:
    """Two sources, of which one has a few files."""
    files = (
        FileRecord("bin", "dir", 0, 0o755),
        file_record("bin/weights", size=1 << 40),
        FileRecord(NOT_UTF8, "symlink", 0, 0o777, "", f"to {NOT_UTF8}"),
    )
    return manifest(
        source_record("models", *files, observation=OBSERVATION),
        source_record("empty", snapshots={}, verdict=Verdict.UNPROVEN, reason="nothing there"),
        files={"models": files},
        checks=(Check("adapter-base", "models", Verdict.PROVEN, "is in this recovery point"),),
        verdict=Verdict.UNPROVEN,
    )


def sealed(*lines: bytes) -> bytes:
    """Return lines with the trailer that fits them."""
    body = b"".join(line + b"\n" for line in lines)
    return body + canonical_bytes({"sha256": hashlib.sha256(body).hexdigest()}) + b"\n"


def test_it_reads_back_as_it_was() -> None:
    assert decode(encode(small())) == small()


def test_the_same_manifest_has_the_same_bytes() -> None:
    assert encode(decode(encode(small()))) == encode(small())


def test_sections_that_are_known_need_not_be_made_again() -> None:
    point = small()
    known = {"models": file_section("models", point.files["models"])}
    assert encode(point, known) == encode(point)


@given(st.lists(file_records, max_size=8).map(tuple))
def test_every_file_record_reads_back(files: tuple[FileRecord, ...]) -> None:
    point = manifest(source_record("models", *files), files={"models": files} if files else {})
    assert decode(encode(point)) == point


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_vectors_read_back(vector: list[float]) -> None:
    assert list(unpack_vector(pack_vector(vector))) == vector


def test_vectors_are_little_endian_float32() -> None:
    assert pack_vector((1.0, -2.0)) == "AACAPwAAAMA="


def test_every_flipped_bit_is_found() -> None:
    data = encode(small())
    for position in range(len(data)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            altered = bytearray(data)
            altered[position] ^= mask
            with pytest.raises(IntegrityError):
                decode(bytes(altered))


def test_every_truncation_is_found_and_called_torn() -> None:
    data = encode(small())
    for length in range(len(data)):
        with pytest.raises(TornManifestError, match="cut short"):
            decode(data[:length])


@pytest.mark.parametrize("more", [b"\n", b" ", b"{}", b"x\n"])
def test_what_follows_the_end_is_not_accepted(more: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(encode(small()) + more)


def test_a_line_that_was_swapped_is_found() -> None:
    """Even when somebody made the trailer anew: each source has a digest of its own lines."""
    head, first, second, *rest = encode(small()).splitlines()[:-1]
    assert decode(sealed(head, first, second, *rest)) == small()
    with pytest.raises(IntegrityError, match='file list of source "models" was altered'):
        decode(sealed(head, second, first, *rest))


def _header(**changes: object) -> bytes:
    return canonical_bytes({**header(small()), **changes})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"no json",
        b"\xff",
        _header(format="llmvault/recovery-point/2"),
        _header(recovery_point=None),
        _header(recovery_point={}),
        _header(recovery_point={**header(small())["recovery_point"], "verdict": "good"}),
        _header(recovery_point={**header(small())["recovery_point"], "started": "yesterday"}),
        _header(recovery_point={**header(small())["recovery_point"], "sources": [{}]}),
    ],
)
def test_a_header_of_another_form_is_refused(line: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(sealed(line))


def test_no_line_at_all_is_refused() -> None:
    with pytest.raises(IntegrityError):
        decode(sealed())


@pytest.mark.parametrize(
    "change",
    [{"kind": None}, {"mode": "rw"}, {"path_base64": "*"}, {"size": "many"}, {"source": []}],
)
def test_a_file_line_of_another_form_is_refused(change: dict[str, object]) -> None:
    head, *lines = encode(small()).splitlines()[:-1]
    altered = canonical_bytes({**json.loads(lines[1]), **change})
    with pytest.raises(IntegrityError):
        decode(sealed(head, lines[0], altered, lines[2]))


def test_each_line_is_canonical() -> None:
    for line in encode(small()).splitlines():
        assert canonical_bytes(json.loads(line)) == line


def test_names_that_are_not_utf8_are_base64_of_their_bytes() -> None:
    line = json.loads(encode(small()).splitlines()[3])
    assert (line["path_base64"], line["target_base64"]) == ("Y2Fm6Q==", "dG8gY2Fm6Q==")
    assert not {"path", "target", "sha256"} & line.keys()


def test_the_header_names_the_format_and_holds_no_file() -> None:
    told = header(small())
    assert told["format"] == FORMAT
    assert "files" not in told["recovery_point"]
    assert told["recovery_point"]["sources"][0]["files_sha256"] == section_digest(
        file_section("models", small().files["models"])
    )


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(data)
    with pytest.raises(IntegrityError):
        decode(sealed(*data.splitlines()))


def test_a_source_is_found_by_name() -> None:
    assert small().source("empty").reason == "nothing there"
    with pytest.raises(KeyError):
        small().source("unknown")
