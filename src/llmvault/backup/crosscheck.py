"""Do the parts of a recovery point belong together? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.model import SourceRecord
from llmvault.sources.interface import ModelFacts


@dataclass(frozen=True, slots=True)
class Pairing:
    """A collection and the model that embeds its queries, as the policy declares them."""

    store: str
    collection: str
    model_source: str
    model: str


def crosscheck(sources: Sequence[SourceRecord], pairings: Iterable[Pairing]) -> tuple[Check, ...]:
    """Return the checks between sources: embedding dimensions and adapters' bases."""
    by_name = {source.name: source for source in sources}
    dimensions = tuple(
        _dimension(pairing, by_name) for pairing in pairings if pairing.store in by_name
    )
    return (*dimensions, *_adapters(sources))


def _dimension(pairing: Pairing, by_name: dict[str, SourceRecord]) -> Check:
    wanted = f"{pairing.store}/{pairing.collection}"
    stored = _stored_dimension(pairing, by_name[pairing.store])
    model = _model(pairing, by_name)
    if stored is None or model is None or model.embedding_dimension is None:
        what = "collection" if stored is None else "model"
        detail = f"the dimension of the {what} is not known ({wanted}, {pairing.model})"
        return Check("embedding-dimension", pairing.store, Verdict.UNPROVEN, detail)
    detail = (
        f"{wanted} holds {stored} dimensions, {pairing.model} makes {model.embedding_dimension}"
    )
    verdict = Verdict.PROVEN if stored == model.embedding_dimension else Verdict.FAILED
    return Check("embedding-dimension", pairing.store, verdict, detail)


def _stored_dimension(pairing: Pairing, store: SourceRecord) -> int | None:
    """Return the dimension of the collection, or of the table in whose records the vector is."""
    dimensions = {facts.name: facts.dimension for facts in store.observation.collections}
    if pairing.collection in dimensions:
        return dimensions[pairing.collection]
    return dimensions.get(pairing.collection.rpartition(".")[0])


def _model(pairing: Pairing, by_name: dict[str, SourceRecord]) -> ModelFacts | None:
    source = by_name.get(pairing.model_source)
    for model in source.observation.models if source else ():
        if pairing.model in (model.name, f"{model.name}@{model.revision}"):
            return model
    return None


def _adapters(sources: Sequence[SourceRecord]) -> tuple[Check, ...]:
    models = [(source, model) for source in sources for model in source.observation.models]
    bases = {model.name for _, model in models if not model.base_model}
    bases |= {source.name for source in sources}
    checks = []
    for source, model in models:
        if not model.base_model:
            continue
        found = model.base_model in bases
        says = "is in this recovery point" if found else "is not in this recovery point"
        detail = f"base model {model.base_model} of adapter {model.name} {says}"
        verdict = Verdict.PROVEN if found else Verdict.FAILED
        checks.append(Check("adapter-base", source.name, verdict, detail))
    return tuple(checks)
