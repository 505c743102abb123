"""Hypothesis strategies for goldens."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from llmvault.drill.engines.interface import EngineIdentity
from llmvault.drill.golden import (
    CompletionRecord,
    EmbeddingRecord,
    GoldenSet,
    Kind,
    NeighboursRecord,
    Record,
    float32,
)

RECORDED_AT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
IDENTITY = EngineIdentity("llamacpp", "xllamacpp 1", "cpu imagined avx2", "f16")
MODEL = "ab" * 32

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
vectors = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3).map(float32)
lengthy_vectors = vectors.filter(lambda vector: sum(abs(value) for value in vector) > 0.1)
completions = st.builds(
    CompletionRecord, prompt=texts, tokens=st.lists(st.integers(0, 200_000)).map(tuple), text=texts
)
embeddings = st.builds(EmbeddingRecord, text=texts, vector=lengthy_vectors)
neighbours = st.builds(
    NeighboursRecord,
    query=texts,
    vector=lengthy_vectors,
    ids=st.lists(texts, max_size=5, unique=True).map(tuple),
)


def golden_set(kind: Kind, *records: Record, engine: EngineIdentity = IDENTITY) -> GoldenSet:
    """Return a set with everything but its records invented."""
    parameters: dict[Kind, dict[str, str | int]] = {
        Kind.COMPLETION: {"max_tokens": 32},
        Kind.EMBEDDING: {},
        Kind.NEIGHBOURS: {"collection": "documents", "k": 5},
    }
    return GoldenSet(
        name="answers",
        kind=kind,
        source="models",
        engine=engine,
        model_sha256=MODEL,
        recorded_at=RECORDED_AT,
        parameters=parameters[kind],
        records=records,
    )


def _sets(kind: Kind, records: st.SearchStrategy[Record]) -> st.SearchStrategy[GoldenSet]:
    return st.lists(records, max_size=6).map(lambda found: golden_set(kind, *found))


golden_sets = st.one_of(
    _sets(Kind.COMPLETION, completions),
    _sets(Kind.EMBEDDING, embeddings),
    _sets(Kind.NEIGHBOURS, neighbours),
)
