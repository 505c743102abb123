"""Do the parts of a recovery point belong together?"""

from __future__ import annotations

import pytest

from llmvault.backup.crosscheck import Pairing, crosscheck
from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.model import SourceRecord
from llmvault.sources.interface import CollectionFacts, ModelFacts, Observation
from tests.fakes.manifests import source_record

PAIRING = Pairing("documents", "passages", "models", "acme/minilm")


def store(*collections: CollectionFacts) -> SourceRecord:
    return source_record("documents", observation=Observation(collections=collections))


def models(*found: ModelFacts, name: str = "models") -> SourceRecord:
    return source_record(name, observation=Observation(models=found))


def minilm(dimension: int | None, revision: str = "") -> ModelFacts:
    return ModelFacts("acme/minilm", "safetensors", revision, embedding_dimension=dimension)


@pytest.mark.parametrize(
    ("stored", "made", "verdict"),
    [
        (384, 384, Verdict.PROVEN),
        (384, 768, Verdict.FAILED),
        (None, 384, Verdict.UNPROVEN),
        (384, None, Verdict.UNPROVEN),
    ],
)
def test_dimensions_are_compared(stored: int | None, made: int | None, verdict: Verdict) -> None:
    sources = [store(CollectionFacts("passages", 1, stored)), models(minilm(made))]
    (check,) = crosscheck(sources, [PAIRING])
    assert (check.name, check.source, check.verdict) == (
        "embedding-dimension",
        "documents",
        verdict,
    )
    assert "passages" in check.detail
    assert "acme/minilm" in check.detail


@pytest.mark.parametrize(
    "sources",
    [
        [store(), models(minilm(384))],
        [store(CollectionFacts("passages", 1, 384)), models()],
        [store(CollectionFacts("passages", 1, 384))],
        [store(CollectionFacts("others", 1, 384)), models(minilm(384))],
    ],
)
def test_what_is_not_there_is_unproven(sources: list[SourceRecord]) -> None:
    assert [check.verdict for check in crosscheck(sources, [PAIRING])] == [Verdict.UNPROVEN]


def test_a_model_may_be_named_with_its_revision() -> None:
    sources = [store(CollectionFacts("passages", 1, 384)), models(minilm(384, "1a2b"))]
    for name in ("acme/minilm", "acme/minilm@1a2b"):
        (check,) = crosscheck(sources, [Pairing("documents", "passages", "models", name)])
        assert check.verdict is Verdict.PROVEN
    (check,) = crosscheck(sources, [Pairing("documents", "passages", "models", "acme/minilm@3c")])
    assert check.verdict is Verdict.UNPROVEN


def test_a_store_that_was_not_taken_is_not_spoken_of() -> None:
    assert crosscheck([models(minilm(384))], [PAIRING]) == ()


def adapter(base: str) -> ModelFacts:
    return ModelFacts("tuned", "adapter", base_model=base)


@pytest.mark.parametrize(
    ("base", "verdict"),
    [("acme/minilm", Verdict.PROVEN), ("models", Verdict.PROVEN), ("acme/other", Verdict.FAILED)],
)
def test_an_adapters_base_must_be_there(base: str, verdict: Verdict) -> None:
    sources = [models(minilm(384)), models(adapter(base), name="adapters")]
    (check,) = crosscheck(sources, [])
    assert check == Check("adapter-base", "adapters", verdict, check.detail)
    assert base in check.detail


def test_an_adapter_is_no_base() -> None:
    (check,) = crosscheck([models(adapter("tuned"))], [])
    assert check.verdict is Verdict.FAILED
