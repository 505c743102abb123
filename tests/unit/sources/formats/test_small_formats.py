"""Documents, names, pickles and git object ids."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmvault.core.canonical import canonical_bytes
from llmvault.sources.formats.documents import MAX_VALUES, positive, read_document
from llmvault.sources.formats.faults import HeaderError
from llmvault.sources.formats.git_blob import git_blob_id, is_git_id, is_sha256
from llmvault.sources.formats.names import printable, short_text
from llmvault.sources.formats.pickled import HEAD_SIZE, is_pickled


@pytest.mark.parametrize(
    ("content", "object_id"),
    [
        # the empty blob that every git repository knows, and `echo hello | git hash-object --stdin`
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
    ],
)
def test_git_names_content_so(tmp_path: Path, content: bytes, object_id: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert git_blob_id(path) == object_id
    assert is_git_id(object_id)
    assert not is_sha256(object_id)


@pytest.mark.parametrize("name", ["", "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391", "main", "a" * 41])
def test_other_names_are_no_object_ids(name: str) -> None:
    assert not is_git_id(name)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", [{"w": [1.0]}, [1], (1, 2), OrderedDict(a=1), {1, 2}, "x", 7])
def test_pickles_are_told_by_content(value: object, protocol: int) -> None:
    assert is_pickled(pickle.dumps(value, protocol)[:HEAD_SIZE])


def test_an_archive_as_pytorch_writes_it_is_pickled() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(1024))
    assert is_pickled(stream.getvalue()[:HEAD_SIZE])


@pytest.mark.parametrize(
    "head", [b"", b"\x80", b"\x80\x02", b"GGUF\3\0\0\0", b"{}", b"\x89PNG\r\n\x1a\n", bytes(512)]
)
def test_other_content_is_not(head: bytes) -> None:
    assert not is_pickled(head)


def test_an_archive_of_other_things_is_not() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("weights.npy", bytes(64))
    assert not is_pickled(stream.getvalue()[:HEAD_SIZE])


@settings(deadline=None)
@given(st.binary(max_size=HEAD_SIZE))
def test_any_bytes_can_be_judged(head: bytes) -> None:
    assert is_pickled(head) in (True, False)


_names = st.binary(min_size=1, max_size=20).map(os.fsdecode)


@settings(deadline=None)
@given(_names, _names)
def test_two_names_are_never_shown_as_one(first: str, second: str) -> None:
    assert (printable(first) == printable(second)) == (first == second)


@settings(deadline=None)
@given(st.one_of(_names, st.text()))
def test_what_is_shown_can_be_shown_and_stored(name: str) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert canonical_bytes(shown)


def test_texts_of_documents_are_bounded() -> None:
    assert short_text("llama") == "llama"
    assert short_text(["llama"]) == ""
    assert len(short_text("x" * 10_000)) == 400


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff{}", b"[" * 100_000, b"[" + b"0," * (MAX_VALUES + 1) + b"0]", b"{} x"],
)
def test_a_broken_document_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(HeaderError) as raised:
        read_document(path, "config.json", fault="document-invalid")
    assert raised.value.name == "document-invalid"


def test_an_absurdly_large_document_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.touch()
    with path.open("r+b") as stream:
        stream.truncate(100_000_001)
    with pytest.raises(HeaderError, match="larger than 32 MiB"):
        read_document(path, "config.json", fault="document-invalid")


def test_what_the_libraries_write_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"limit": float("inf")}))
    assert read_document(path, "config.json", fault="x") == {"limit": float("inf")}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"hidden_size": 384}, 384),
        ({"d_model": 64}, 64),
        ({"hidden_size": True, "d_model": 8}, 8),
        ({"hidden_size": "384"}, None),
        ({"hidden_size": -1}, None),
        ({"hidden_size": 10**400}, None),
        ({}, None),
    ],
)
def test_counts_are_taken_only_when_they_make_sense(
    document: dict[str, object], expected: int | None
) -> None:
    assert positive(document, "hidden_size", "d_model") == expected
