"""Asking started engines and open stores: the recording and the replay of goldens.

The answers of a replay are compared by :mod:`llmvault.drill.golden_compare`. Vectors that are
searched for are those that were recorded, so a replayed search needs no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    UnavailableError,
    UnprovenError,
    VaultError,
)
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.engines.interface import Session
from llmvault.drill.golden import (
    CompletionRecord,
    EmbeddingRecord,
    GoldenSet,
    Kind,
    NeighboursRecord,
    Record,
    float32,
)
from llmvault.drill.golden_compare import Tolerance, compare
from llmvault.policy.model import CompletionGolden, EmbeddingGolden, Golden, NeighboursGolden
from llmvault.sources.interface import OpenStore

OnAnswer = Callable[[str, int, int], None]
"""Called after each answer: name of the golden, questions answered so far, questions in all."""


@dataclass(frozen=True, slots=True)
class StartedEngine:
    """An engine that answers.

    Attributes:
        source: the source that holds its model.
        model_sha256: :func:`~llmvault.drill.golden.model_digest` of the files it was started on.
    """

    session: Session
    source: str
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What can be asked: engines and stores by their names in the policy."""

    engines: Mapping[str, StartedEngine]
    stores: Mapping[str, OpenStore]

    def engine(self, name: str) -> StartedEngine:
        """Return a started engine.

        Raises:
            UnavailableError: when it was not started.
        """
        if name not in self.engines:
            raise UnavailableError(f'engine "{name}"', "was not started", "add it to drill.engines")
        return self.engines[name]

    def store(self, name: str) -> OpenStore:
        """Return an open store.

        Raises:
            UnavailableError: when it was not opened.
        """
        if name not in self.stores:
            raise UnavailableError(f'source "{name}"', "was not opened for searching")
        return self.stores[name]


def _ignore(name: str, done: int, total: int) -> None:
    """Tell nobody."""


def questions(name: str, golden: Golden) -> tuple[str, ...]:
    """Return what a golden asks: the texts of the policy, then the lines of its file.

    Empty lines of the file are left out.

    Raises:
        PolicyError: when the file cannot be read, or there is no question at all.
    """
    match golden:
        case CompletionGolden():
            texts, file = golden.prompts, golden.prompts_file
        case EmbeddingGolden():
            texts, file = golden.texts, golden.texts_file
        case NeighboursGolden():
            texts, file = golden.queries, golden.queries_file
    asked = (*texts, *(_lines(name, file) if file else ()))
    if not asked:
        raise PolicyError(
            f'golden "{name}"', "asks nothing", "give it questions, or a file of them"
        )
    return asked


def tolerance_of(golden: Golden) -> Tolerance:
    """Return what a golden of the policy demands."""
    match golden:
        case CompletionGolden():
            return Tolerance(min_agreement=golden.min_agreement)
        case EmbeddingGolden():
            return Tolerance(min_cosine=golden.min_cosine)
        case NeighboursGolden():
            return Tolerance(min_recall=golden.min_recall)


def record(
    goldens: Mapping[str, Golden], asked: Asked, *, now: datetime, on_answer: OnAnswer = _ignore
) -> tuple[GoldenSet, ...]:
    """Ask every golden's questions and return the answers.

    Raises:
        PolicyError: as for :func:`questions`.
        UnavailableError: when an engine or store does not answer, or was not started.
    """
    return tuple(
        _record_one(name, golden, asked, now=now, on_answer=on_answer)
        for name, golden in goldens.items()
    )


def replay(
    recorded: GoldenSet,
    golden: Golden,
    asked: Asked,
    *,
    now: datetime,
    on_answer: OnAnswer = _ignore,
) -> GoldenSet:
    """Ask the recorded questions again, with the recorded parameters, and return the answers.

    Args:
        golden: the policy's golden of that name; it says which engine or store is asked.

    Raises:
        UnprovenError: when the policy now means another kind of golden by that name.
        UnavailableError: when the engine or store does not answer, or was not started.
    """
    if golden.kind != recorded.kind:
        raise UnprovenError(
            f'golden "{recorded.name}"',
            f"was recorded as {recorded.kind}, the policy now says {golden.kind}",
            "give it another name",
        )
    if isinstance(golden, NeighboursGolden):
        searched = _search_again(recorded, asked.store(golden.source))
        answers = _collect(recorded.name, searched, len(recorded.records), on_answer)
        return replace(recorded, recorded_at=now, records=answers)
    engine = asked.engine(golden.engine)
    answered = _ask_again(recorded, engine.session)
    return replace(
        recorded,
        engine=engine.session.identity,
        model_sha256=engine.model_sha256,
        recorded_at=now,
        records=_collect(recorded.name, answered, len(recorded.records), on_answer),
    )


def check(
    goldens: Mapping[str, Golden],
    recorded: Sequence[GoldenSet],
    asked: Asked,
    *,
    now: datetime,
    on_answer: OnAnswer = _ignore,
) -> tuple[Check, ...]:
    """Replay every golden of the policy and return one check for each.

    A golden that was not recorded, or whose engine or store does not answer, is unproven with the
    reason (failed where broken data is the reason); the others are replayed all the same.
    """
    sets = {golden.name: golden for golden in recorded}
    checks = []
    for name, golden in goldens.items():
        if name not in sets:
            detail = "was not recorded with this recovery point: llmvault drill --record"
            checks.append(Check(f"golden:{name}", "", Verdict.UNPROVEN, detail))
            continue
        try:
            replayed = replay(sets[name], golden, asked, now=now, on_answer=on_answer)
        except VaultError as error:
            broken = isinstance(error, IntegrityError)
            verdict = Verdict.FAILED if broken else Verdict.UNPROVEN
            checks.append(Check(f"golden:{name}", sets[name].source, verdict, str(error)))
            continue
        checks.append(compare(sets[name], replayed, tolerance_of(golden)))
    return tuple(checks)


def _record_one(
    name: str, golden: Golden, asked: Asked, *, now: datetime, on_answer: OnAnswer
) -> GoldenSet:
    asking = questions(name, golden)
    engine = asked.engine(golden.engine)
    empty = GoldenSet(
        name=name,
        kind=Kind(golden.kind),
        source=golden.source if isinstance(golden, NeighboursGolden) else engine.source,
        engine=engine.session.identity,
        model_sha256=engine.model_sha256,
        recorded_at=now,
        parameters=_parameters(golden),
        records=(),
    )
    answered = _ask(golden, asking, engine.session, asked)
    return replace(empty, records=_collect(name, answered, len(asking), on_answer))


def _parameters(golden: Golden) -> dict[str, str | int]:
    match golden:
        case CompletionGolden():
            return {"max_tokens": golden.max_tokens}
        case EmbeddingGolden():
            return {}
        case NeighboursGolden():
            return {"collection": golden.collection, "k": golden.k}


def _ask(golden: Golden, asking: Sequence[str], session: Session, asked: Asked) -> Iterator[Record]:
    match golden:
        case CompletionGolden():
            return (_complete(session, prompt, golden.max_tokens) for prompt in asking)
        case EmbeddingGolden():
            return (EmbeddingRecord(text, _embed(session, text)) for text in asking)
        case NeighboursGolden():
            store = asked.store(golden.source)
            return (
                _search(store, golden.collection, golden.k, query, _embed(session, query))
                for query in asking
            )


def _ask_again(recorded: GoldenSet, session: Session) -> Iterator[Record]:
    if recorded.kind is Kind.COMPLETION:
        limit = int(recorded.parameters["max_tokens"])
        return (_complete(session, record.question, limit) for record in recorded.records)
    return (
        EmbeddingRecord(record.question, _embed(session, record.question))
        for record in recorded.records
    )


def _search_again(recorded: GoldenSet, store: OpenStore) -> Iterator[Record]:
    collection, k = str(recorded.parameters["collection"]), int(recorded.parameters["k"])
    return (
        _search(store, collection, k, record.query, record.vector)
        for record in recorded.records
        if isinstance(record, NeighboursRecord)
    )


def _collect(
    name: str, answered: Iterator[Record], total: int, on_answer: OnAnswer
) -> tuple[Record, ...]:
    answers = []
    for answer in answered:
        answers.append(answer)
        on_answer(name, len(answers), total)
    return tuple(answers)


def _complete(session: Session, prompt: str, max_tokens: int) -> CompletionRecord:
    answer = session.complete(prompt, max_tokens)
    return CompletionRecord(prompt, answer.tokens, answer.text)


def _embed(session: Session, text: str) -> tuple[float, ...]:
    (vector,) = session.embed((text,))
    return float32(vector)


def _search(
    store: OpenStore, collection: str, k: int, query: str, vector: tuple[float, ...]
) -> NeighboursRecord:
    return NeighboursRecord(query, vector, store.search(collection, vector, k)[:k])


def _lines(name: str, file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise PolicyError(f'golden "{name}"', f"{file} cannot be read: {cause}") from error
    return tuple(line for line in text.split("\n") if line.strip())
