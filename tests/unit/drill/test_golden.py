import json
import struct
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.drill.golden import (
    CompletionRecord,
    EmbeddingRecord,
    GoldenSet,
    Kind,
    NeighboursRecord,
    decode_vector,
    encode_vector,
    float32,
    from_json,
    model_digest,
    to_json,
)
from tests.fakes.goldens import golden_set, golden_sets, vectors

VECTOR = (0.6, 0.0, -0.8)
COMPLETION = golden_set(Kind.COMPLETION, CompletionRecord("2 + 2 =", (220, 19), " 4"))
EMBEDDING = golden_set(Kind.EMBEDDING, EmbeddingRecord("restore", float32(VECTOR)))
NEIGHBOURS = golden_set(Kind.NEIGHBOURS, NeighboursRecord("how", float32(VECTOR), ("7", "3")))


@given(golden_sets)
def test_a_set_survives_its_json(golden: GoldenSet) -> None:
    assert from_json(json.loads(canonical_bytes(to_json(golden)))) == golden


def test_the_form_is_the_documented_one() -> None:
    assert to_json(COMPLETION) == {
        "format": "llmvault-goldens/1",
        "name": "answers",
        "kind": "completion",
        "source": "models",
        "engine": {
            "engine": "llamacpp",
            "version": "xllamacpp 1",
            "device": "cpu imagined avx2",
            "dtype": "f16",
        },
        "model_sha256": "ab" * 32,
        "recorded_at": "2026-01-02T03:04:05.678Z",
        "parameters": {"max_tokens": 32},
        "records": [{"prompt": "2 + 2 =", "tokens": [220, 19], "text": " 4"}],
    }
    encoded = b64encode(struct.pack("<3f", *VECTOR)).decode()
    assert encoded == "mpkZPwAAAADNzEy/"
    assert to_json(EMBEDDING)["records"] == [{"text": "restore", "vector": encoded}]
    assert to_json(NEIGHBOURS)["records"] == [
        {"query": "how", "vector": encoded, "ids": ["7", "3"]}
    ]


@given(vectors)
def test_float32_values_survive_their_text_to_the_last_bit(vector: tuple[float, ...]) -> None:
    assert decode_vector(encode_vector(vector)) == vector
    assert float32(vector) == vector


@pytest.mark.parametrize("text", ["AAA=", "AAAA", "not base64!", "ä"])
def test_what_is_no_vector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_vector(text)


@pytest.mark.parametrize(
    ("golden", "change", "told"),
    [
        (COMPLETION, {"format": "llmvault-goldens/2"}, "format"),
        (COMPLETION, {"kind": "chat"}, "chat"),
        (COMPLETION, {"name": 7}, "name is int"),
        (COMPLETION, {"recorded_at": "2026-01-02T03:04:05"}, "time zone"),
        (COMPLETION, {"recorded_at": "yesterday"}, "yesterday"),
        (COMPLETION, {"parameters": {}}, "max_tokens"),
        (COMPLETION, {"parameters": {"max_tokens": True}}, "max_tokens is bool"),
        (COMPLETION, {"engine": {"engine": "x"}}, "version"),
        (COMPLETION, {"records": None}, "records is NoneType"),
        (COMPLETION, {"records": ["x"]}, "cannot be read"),
        (COMPLETION, {"records": [{"prompt": "p", "text": "t", "tokens": [1.5]}]}, "tokens"),
        (EMBEDDING, {"records": [{"text": "t", "vector": "AAA="}]}, "base64"),
        (EMBEDDING, {"records": [{"prompt": "p", "text": "t", "tokens": []}]}, "vector"),
        (NEIGHBOURS, {"records": [{"query": "q", "vector": "", "ids": [7]}]}, "ids"),
    ],
)
def test_anything_else_is_refused_by_field(
    golden: GoldenSet, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(IntegrityError, match=told):
        from_json({**to_json(golden), **change})


@pytest.mark.parametrize("field", to_json(COMPLETION))
def test_every_field_is_needed(field: str) -> None:
    value = to_json(COMPLETION)
    del value[field]
    with pytest.raises(IntegrityError, match=field):
        from_json(value)


@pytest.mark.parametrize("value", [None, [], "text", 7])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(IntegrityError):
        from_json(value)


def test_a_model_of_one_file_is_named_by_its_digest() -> None:
    assert model_digest({"model.gguf": "12" * 32}) == "12" * 32
    assert model_digest({}) == ""


@given(st.dictionaries(st.text("ab/", min_size=1), st.text("01", min_size=2), min_size=2))
def test_a_model_of_several_files_is_named_whatever_their_order(files: dict[str, str]) -> None:
    named = model_digest(files)
    assert named == model_digest(dict(reversed(files.items())))
    first = next(iter(files))
    assert named != model_digest({**files, first: "another"})


def test_hundreds_of_records_stay_compact() -> None:
    vector = float32([0.05] * 384)
    golden = golden_set(
        Kind.EMBEDDING, *(EmbeddingRecord(f"text {place}", vector) for place in range(500))
    )
    assert len(canonical_bytes(to_json(golden))) < 500 * (384 * 4 * 4 / 3 + 60)
