import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.verdict import Verdict
from llmvault.drill.engines.interface import UNKNOWN
from llmvault.drill.golden import (
    CompletionRecord,
    EmbeddingRecord,
    GoldenSet,
    Kind,
    NeighboursRecord,
    float32,
)
from llmvault.drill.golden_compare import Tolerance, agreement, compare, cosine
from tests.fakes.goldens import (
    IDENTITY,
    completions,
    embeddings,
    golden_set,
    golden_sets,
    lengthy_vectors,
    neighbours,
)

EXACT = Tolerance(min_agreement=1, min_cosine=1, min_recall=1)
OTHER = replace(IDENTITY, device="cuda imagined")
ONE = CompletionRecord("one", (1, 2, 3, 4), "a b c d")
TWO = CompletionRecord("two", (5, 6, 7, 8), "e f g h")


def judge(
    recorded: GoldenSet, replayed: GoldenSet, tolerance: Tolerance = EXACT
) -> tuple[Verdict, str]:
    check = compare(recorded, replayed, tolerance)
    assert (check.name, check.source) == ("golden:answers", "models")
    return check.verdict, check.detail


def completion_set(*records: CompletionRecord, moved: bool = False) -> GoldenSet:
    return golden_set(Kind.COMPLETION, *records, engine=OTHER if moved else IDENTITY)


def test_the_same_tokens_on_the_same_engine_are_proven() -> None:
    assert judge(completion_set(ONE, TWO), completion_set(ONE, TWO)) == (
        Verdict.PROVEN,
        "2 of 2 answers are the same on the same engine and device (8 tokens)",
    )


def test_one_other_token_on_the_same_engine_fails_whatever_is_tolerated() -> None:
    wrong = replace(TWO, tokens=(5, 6, 9, 8))
    lax = Tolerance(min_agreement=0)
    assert judge(completion_set(ONE, TWO), completion_set(ONE, wrong), lax) == (
        Verdict.FAILED,
        "1 of 2 answers differ on the same engine and device; "
        "the first is answer 2, from token 3 on",
    )


def test_a_shorter_answer_on_the_same_engine_fails() -> None:
    verdict, detail = judge(
        completion_set(ONE), completion_set(replace(ONE, tokens=(1, 2), text="a b"))
    )
    assert verdict is Verdict.FAILED
    assert detail.endswith("from token 3 on")


def test_the_same_tokens_with_another_text_fail() -> None:
    verdict, detail = judge(completion_set(ONE), completion_set(replace(ONE, text="A b c d")))
    assert verdict is Verdict.FAILED
    assert "with the same tokens but another text" in detail


@pytest.mark.parametrize(("demanded", "verdict"), [(0.75, Verdict.PROVEN), (0.76, Verdict.FAILED)])
def test_another_device_may_differ_as_far_as_declared(demanded: float, verdict: Verdict) -> None:
    moved = completion_set(ONE, replace(TWO, tokens=(5, 6)), moved=True)
    tolerance = Tolerance(min_agreement=demanded)
    assert judge(completion_set(ONE, TWO), moved, tolerance) == (
        verdict,
        f"agreement 0.7500 (6 of 8 tokens, at least {demanded:g} demanded), 1 of 2 answers are "
        "the same; recorded by xllamacpp 1 f16 on cpu imagined avx2, "
        "replayed by xllamacpp 1 f16 on cuda imagined",
    )


@pytest.mark.parametrize("field", ["engine", "version", "device", "dtype"])
def test_the_tolerance_counts_when_any_part_of_the_identity_differs(field: str) -> None:
    moved = replace(
        completion_set(replace(ONE, text="?")), engine=replace(IDENTITY, **{field: "x"})
    )
    verdict, detail = judge(completion_set(ONE), moved, Tolerance(min_agreement=1))
    assert verdict is Verdict.PROVEN
    assert detail.startswith("agreement 1.0000")


def test_what_is_unknown_on_both_sides_is_not_the_same() -> None:
    unknown = replace(completion_set(ONE), engine=replace(IDENTITY, device=UNKNOWN))
    assert judge(unknown, unknown)[1].startswith("agreement 1.0000")


def test_texts_count_where_no_tokens_are_told() -> None:
    silent = replace(ONE, tokens=())
    assert judge(completion_set(silent), completion_set(silent)) == (
        Verdict.PROVEN,
        "1 of 1 answers are the same on the same engine and device (7 characters)",
    )
    verdict, detail = judge(
        completion_set(ONE), completion_set(replace(silent, text="a b X d"), moved=True)
    )
    assert verdict is Verdict.FAILED
    assert detail.startswith("agreement 0.8571 (6 of 7 characters")


@pytest.mark.parametrize("moved", [False, True])
def test_empty_answers_prove_nothing(moved: bool) -> None:
    empty = CompletionRecord("one", (), "")
    verdict, detail = judge(completion_set(empty), completion_set(empty, moved=moved))
    assert verdict is Verdict.UNPROVEN
    assert detail.startswith("nothing was compared")


def test_an_unanswered_question_is_unproven() -> None:
    assert judge(completion_set(ONE, TWO), completion_set(ONE)) == (
        Verdict.UNPROVEN,
        "1 of 1 answers are the same on the same engine and device (4 tokens); "
        "not replayed: 1 of 2 questions",
    )


def test_another_question_is_unproven() -> None:
    verdict, detail = judge(completion_set(ONE), completion_set(ONE, TWO))
    assert verdict is Verdict.UNPROVEN
    assert detail.endswith("replayed but not recorded: 1 of 2 questions")


def test_a_wrong_answer_outweighs_a_missing_one() -> None:
    wrong = replace(ONE, tokens=(9,))
    assert judge(completion_set(ONE, TWO), completion_set(wrong))[0] is Verdict.FAILED


def test_a_question_asked_twice_is_matched_in_order() -> None:
    again = replace(ONE, tokens=(4, 3, 2, 1))
    both = completion_set(ONE, again)
    assert judge(both, both)[0] is Verdict.PROVEN
    assert judge(both, completion_set(again, ONE))[0] is Verdict.FAILED


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_sha256": "cd" * 32}, "not the same model"),
        ({"model_sha256": ""}, "replayed with unknown: not the same model"),
        ({"parameters": {"max_tokens": 64}}, "recorded with {'max_tokens': 32}"),
        ({"kind": Kind.EMBEDDING}, "replayed the embedding golden"),
        ({"name": "others"}, "replayed the completion golden others"),
    ],
)
def test_sets_that_do_not_belong_together_are_unproven(change: dict[str, Any], told: str) -> None:
    recorded = completion_set(ONE)
    verdict, detail = judge(recorded, replace(recorded, **change))
    assert verdict is Verdict.UNPROVEN
    assert told in detail


def test_a_model_that_nobody_named_is_unproven() -> None:
    nameless = replace(completion_set(ONE), model_sha256="")
    assert judge(nameless, nameless)[0] is Verdict.UNPROVEN


def embedding_set(*vectors: tuple[float, ...]) -> GoldenSet:
    records = (EmbeddingRecord(f"t{place}", float32(v)) for place, v in enumerate(vectors))
    return golden_set(Kind.EMBEDDING, *records)


def test_the_lowest_cosine_decides() -> None:
    recorded = embedding_set((1, 0), (1, 0))
    replayed = embedding_set((1, 0), (0, 1))
    assert judge(recorded, replayed, Tolerance(min_cosine=0)) == (
        Verdict.PROVEN,
        "lowest cosine 0.0000 over 2 vectors (at least 0 demanded), "
        "1 of 2 are the same to the last bit",
    )
    assert judge(recorded, replayed, Tolerance(min_cosine=0.01))[0] is Verdict.FAILED


def test_a_cosine_just_below_one_is_not_told_as_one() -> None:
    _, detail = judge(embedding_set((1, 0)), embedding_set((1, 0.003)))
    assert "lowest cosine 0.9999 " in detail


@pytest.mark.parametrize("other", [(1.0, 0.0, 0.0), (0.0, 0.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_a_vector_that_cannot_be_compared_fails(other: tuple[float, ...]) -> None:
    lax = Tolerance(min_cosine=-1)
    verdict, detail = judge(embedding_set((1, 0), (1, 0)), embedding_set((1, 0), other), lax)
    assert verdict is Verdict.FAILED
    assert "1 of 2 cannot be compared" in detail


def neighbours_set(*ids: tuple[str, ...]) -> GoldenSet:
    records = (NeighboursRecord(f"q{place}", (1.0, 0.0), found) for place, found in enumerate(ids))
    return golden_set(Kind.NEIGHBOURS, *records)


def test_recall_is_the_mean_share_of_recorded_neighbours() -> None:
    recorded = neighbours_set(("a", "b"), ("c", "d"), ("e", "f"))
    replayed = neighbours_set(("b", "a"), ("c", "x"), ("e", "f"))
    assert judge(recorded, replayed, Tolerance(min_recall=0.83)) == (
        Verdict.PROVEN,
        "recall@5 0.8333 over 3 queries (at least 0.83 demanded), lowest 0.5000, "
        "1 of 3 in the same order",
    )
    assert judge(recorded, replayed, Tolerance(min_recall=0.84))[0] is Verdict.FAILED


def test_an_emptied_store_fails() -> None:
    assert judge(neighbours_set(("a",)), neighbours_set(()))[0] is Verdict.FAILED


def test_a_store_that_was_empty_when_recorded_proves_nothing() -> None:
    verdict, detail = judge(neighbours_set(()), neighbours_set(()))
    assert verdict is Verdict.UNPROVEN
    assert "no neighbours were recorded for 1 queries" in detail


@given(golden_sets)
def test_a_set_without_comparable_answers_is_never_proven(golden: GoldenSet) -> None:
    verdict, _ = judge(golden, replace(golden, records=()))
    assert verdict is Verdict.UNPROVEN


@given(
    st.one_of(
        st.lists(completions.filter(lambda r: r.tokens or r.text), min_size=1).map(
            lambda found: golden_set(Kind.COMPLETION, *found)
        ),
        st.lists(embeddings, min_size=1).map(lambda found: golden_set(Kind.EMBEDDING, *found)),
        st.lists(neighbours.filter(lambda r: r.ids), min_size=1).map(
            lambda found: golden_set(Kind.NEIGHBOURS, *found)
        ),
    ),
    st.booleans(),
)
def test_a_set_is_what_it_is(golden: GoldenSet, moved: bool) -> None:
    later = replace(golden, recorded_at=golden.recorded_at + timedelta(days=1))
    replayed = replace(later, engine=OTHER) if moved else later
    assert judge(golden, replayed)[0] is Verdict.PROVEN


@given(st.lists(completions, min_size=1), st.data())
def test_any_change_on_the_same_engine_is_found(
    records: list[CompletionRecord], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    other = data.draw(completions.filter(lambda r: r.tokens != records[place].tokens))
    changed = list(records)
    changed[place] = replace(records[place], tokens=other.tokens)
    verdict, _ = judge(completion_set(*records), completion_set(*changed))
    assert verdict is not Verdict.PROVEN


@given(st.lists(completions), st.lists(completions), st.booleans())
def test_sets_with_other_questions_are_never_proven(
    some: list[CompletionRecord], others: list[CompletionRecord], moved: bool
) -> None:
    asked, answered = (sorted(r.prompt for r in found) for found in (some, others))
    verdict, _ = judge(
        completion_set(*some),
        completion_set(*others, moved=moved),
        Tolerance(min_agreement=0),
    )
    assert verdict is not Verdict.PROVEN or asked == answered


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_agreement_is_symmetric_and_whole_only_for_equals(one: list[int], other: list[int]) -> None:
    equal, positions = agreement(one, other)
    assert (equal, positions) == agreement(other, one)
    assert 0 <= equal <= positions == max(len(one), len(other))
    assert (equal == positions) == (one == other)


@given(lengthy_vectors, lengthy_vectors)
def test_cosine_is_symmetric_and_bounded(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    assert cosine(one, one) == 1
    assert math.isclose(cosine(one, other), cosine(other, one), abs_tol=1e-12)
    assert abs(cosine(one, other)) <= 1 + 1e-9
