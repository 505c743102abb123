"""A restored store is compared with what was recorded of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmvault.core.verdict import Verdict
from llmvault.restore.compare import compare_collections
from llmvault.sources.interface import CollectionFacts

RECORDED = CollectionFacts(
    name="documents",
    count=3,
    dimension=2,
    sample_digests={"a": "1" * 64, "b": "2" * 64},
    sample_vectors={"a": (0.6, 0.8), "b": (1.0, 0.0)},
)


def verdict(found: CollectionFacts) -> Verdict:
    return compare_collections("store", (RECORDED,), (found,)).verdict


def test_the_same_records_are_proven() -> None:
    check = compare_collections("store", (RECORDED,), (RECORDED,))
    assert check.verdict is Verdict.PROVEN
    assert check.detail == "1 collection, 3 records; 2 sampled records identical"


def test_a_missing_collection_fails() -> None:
    assert compare_collections("store", (RECORDED,), ()).verdict is Verdict.FAILED


@pytest.mark.parametrize("change", [{"count": 2}, {"dimension": 3}])
def test_another_count_or_dimension_fails(change: dict[str, int]) -> None:
    assert verdict(replace(RECORDED, **change)) is Verdict.FAILED  # type: ignore[arg-type]


def test_a_changed_record_fails_and_is_named() -> None:
    found = replace(RECORDED, sample_digests={"a": "1" * 64, "b": "3" * 64})
    check = compare_collections("store", (RECORDED,), (found,))
    assert check.verdict is Verdict.FAILED
    assert check.detail == "documents: records differ: b"


def test_a_record_under_another_id_fails() -> None:
    found = replace(RECORDED, sample_digests={"a": "1" * 64, "c": "2" * 64})
    assert verdict(found) is Verdict.FAILED


def test_the_last_bits_of_a_vector_may_differ_but_no_more() -> None:
    close = replace(RECORDED, sample_vectors={"a": (0.6 + 1e-7, 0.8), "b": (1.0, 0.0)})
    far = replace(RECORDED, sample_vectors={"a": (0.61, 0.8), "b": (1.0, 0.0)})
    assert verdict(close) is Verdict.PROVEN
    assert verdict(far) is Verdict.FAILED


def test_fewer_samples_than_recorded_are_compared_as_far_as_they_go() -> None:
    fewer = replace(RECORDED, sample_digests={"a": "1" * 64}, sample_vectors={"a": (0.6, 0.8)})
    assert verdict(fewer) is Verdict.PROVEN
    assert verdict(replace(fewer, sample_digests={"a": "9" * 64})) is Verdict.FAILED


def test_no_sample_in_common_is_unproven() -> None:
    assert verdict(replace(RECORDED, sample_digests={}, sample_vectors={})) is Verdict.UNPROVEN


def test_nothing_recorded_is_unproven() -> None:
    assert compare_collections("store", (), (RECORDED,)).verdict is Verdict.UNPROVEN
