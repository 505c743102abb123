from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    UnavailableError,
    UnprovenError,
)
from llmvault.core.verdict import Verdict
from llmvault.drill.engines.interface import EngineIdentity
from llmvault.drill.golden import (
    CompletionRecord,
    GoldenSet,
    Kind,
    NeighboursRecord,
    float32,
    from_json,
    to_json,
)
from llmvault.drill.golden_compare import Tolerance
from llmvault.drill.goldens_run import (
    Asked,
    StartedEngine,
    check,
    questions,
    record,
    replay,
    tolerance_of,
)
from llmvault.policy.model import CompletionGolden, EmbeddingGolden, Golden, NeighboursGolden
from tests.fakes.engine import IDENTITY, FakeEngine
from tests.fakes.store import FakeStore

RECORDED = datetime(2026, 1, 2, tzinfo=UTC)
DRILLED = datetime(2026, 1, 3, tzinfo=UTC)
GOLDENS: dict[str, Golden] = {
    "answers": CompletionGolden(
        kind="completion", engine="chat", prompts=("one", "two"), max_tokens=5
    ),
    "vectors": EmbeddingGolden(kind="embedding", engine="embedder", texts=("one",)),
    "nearest": NeighboursGolden(
        kind="neighbours",
        source="documents",
        collection="passages",
        engine="embedder",
        queries=("how to restore", "how to drill"),
        k=2,
    ),
}


class World:
    """Two started engines and a store."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.chat = FakeEngine("chat")
        self.embedder = FakeEngine("embedder")
        session = self.start(self.embedder).session
        texts = ("backup", "restore", "drill", "erasure")
        self.store = FakeStore({"passages": {text: session.embed((text,))[0] for text in texts}})

    def start(self, engine: FakeEngine, *, weights: bytes = b"") -> StartedEngine:
        model = self._folder / f"{engine.name}.gguf"
        model.write_bytes(b"FAKE" + engine.name.encode() + weights + bytes(1000))
        session = self._stack.enter_context(engine.start(model, self._folder / "log"))
        return StartedEngine(session, "models", "ab" * 32)

    def asked(self, *, weights: bytes = b"") -> Asked:
        engines = {
            engine.name: self.start(engine, weights=weights)
            for engine in (self.chat, self.embedder)
        }
        return Asked(engines, {"documents": self.store})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, tmp_path)


@pytest.fixture
def recorded(world: World) -> tuple[GoldenSet, ...]:
    return record(GOLDENS, world.asked(), now=RECORDED)


def verdicts(world: World, recorded: tuple[GoldenSet, ...], asked: Asked) -> dict[str, Verdict]:
    checks = check(GOLDENS, recorded, asked, now=DRILLED)
    assert len(checks) == len(GOLDENS)
    return {found.name.removeprefix("golden:"): found.verdict for found in checks}


ALL_PROVEN = dict.fromkeys(GOLDENS, Verdict.PROVEN)


def test_every_golden_is_recorded_with_what_answered(recorded: tuple[GoldenSet, ...]) -> None:
    answers, vectors, nearest = recorded
    assert [golden.name for golden in recorded] == list(GOLDENS)
    assert [golden.source for golden in recorded] == ["models", "models", "documents"]
    assert all(golden.engine == IDENTITY for golden in recorded)
    assert all(golden.model_sha256 == "ab" * 32 for golden in recorded)
    assert all(golden.recorded_at == RECORDED for golden in recorded)
    assert answers.parameters == {"max_tokens": 5}
    assert nearest.parameters == {"collection": "passages", "k": 2}
    assert [len(r.tokens) for r in answers.records if isinstance(r, CompletionRecord)] == [5, 5]
    assert [len(r.ids) for r in nearest.records if isinstance(r, NeighboursRecord)] == [2, 2]
    assert len(vectors.records) == 1


def test_a_replay_of_what_was_recorded_is_proven(
    world: World, recorded: tuple[GoldenSet, ...]
) -> None:
    stored = tuple(from_json(to_json(golden)) for golden in recorded)
    assert verdicts(world, stored, world.asked()) == ALL_PROVEN


def test_the_recorded_vector_is_searched_for_to_the_last_bit(
    world: World, recorded: tuple[GoldenSet, ...]
) -> None:
    before = list(world.store.searches)
    replay(recorded[2], GOLDENS["nearest"], world.asked(), now=DRILLED)
    assert world.store.searches[len(before) :] == before
    assert all(float32(vector) == vector for _, vector, _ in before)


def test_a_replayed_search_needs_no_engine(world: World, recorded: tuple[GoldenSet, ...]) -> None:
    asked = Asked({}, {"documents": world.store})
    assert verdicts(world, recorded, asked) == {
        "answers": Verdict.UNPROVEN,
        "vectors": Verdict.UNPROVEN,
        "nearest": Verdict.PROVEN,
    }


def test_other_weights_fail(world: World, recorded: tuple[GoldenSet, ...]) -> None:
    assert verdicts(world, recorded, world.asked(weights=b"flipped")) == {
        "answers": Verdict.FAILED,
        "vectors": Verdict.FAILED,
        "nearest": Verdict.PROVEN,
    }


def test_a_store_that_lost_records_fails(world: World, recorded: tuple[GoldenSet, ...]) -> None:
    world.store.collections["passages"] = {"other": (1.0,) + (0.0,) * 15}
    assert verdicts(world, recorded, world.asked())["nearest"] is Verdict.FAILED


def test_another_device_is_judged_by_the_tolerance(
    world: World, recorded: tuple[GoldenSet, ...]
) -> None:
    world.chat.identity = EngineIdentity("fake", "fake 1", "cuda imagined", "f32")
    (answers, *_) = check(GOLDENS, recorded, world.asked(), now=DRILLED)
    assert answers.verdict is Verdict.PROVEN
    assert answers.detail.startswith("agreement 1.0000 (10 of 10 tokens, at least 0.9 demanded)")


def test_an_engine_that_crashes_leaves_the_others_to_be_replayed(
    world: World, recorded: tuple[GoldenSet, ...]
) -> None:
    asked = world.asked()

    def crash(prompt: str) -> None:
        if prompt == "two":
            raise UnavailableError('engine "chat"', "crashed while answering (killed by SIGSEGV)")

    world.chat.before = crash
    answers, *others = check(GOLDENS, recorded, asked, now=DRILLED)
    assert answers.verdict is Verdict.UNPROVEN
    assert answers.detail == 'engine "chat": crashed while answering (killed by SIGSEGV)'
    assert [found.verdict for found in others] == [Verdict.PROVEN, Verdict.PROVEN]


def test_broken_data_fails(world: World, recorded: tuple[GoldenSet, ...]) -> None:
    def break_down(prompt: str) -> None:
        raise IntegrityError("collection", "index is corrupt")

    asked = world.asked()
    world.chat.before = break_down
    assert verdicts(world, recorded, asked)["answers"] is Verdict.FAILED


def test_a_golden_that_was_not_recorded_is_unproven(
    world: World, recorded: tuple[GoldenSet, ...]
) -> None:
    found = check(GOLDENS, recorded[1:], world.asked(), now=DRILLED)[0]
    assert found.verdict is Verdict.UNPROVEN
    assert "was not recorded with this recovery point" in found.detail


def test_a_golden_of_another_kind_is_unproven(
    world: World, recorded: tuple[GoldenSet, ...]
) -> None:
    other = {"answers": GOLDENS["vectors"]}
    (found,) = check(other, recorded, world.asked(), now=DRILLED)
    assert found.verdict is Verdict.UNPROVEN
    with pytest.raises(UnprovenError, match="was recorded as completion"):
        replay(recorded[0], GOLDENS["vectors"], world.asked(), now=DRILLED)


def test_a_replay_asks_what_was_recorded_not_what_the_policy_says_now(
    world: World, recorded: tuple[GoldenSet, ...]
) -> None:
    changed = CompletionGolden(kind="completion", engine="chat", prompts=("new",), max_tokens=9)
    replayed = replay(recorded[0], changed, world.asked(), now=DRILLED)
    assert replayed == replace(recorded[0], recorded_at=DRILLED)


def test_progress_is_told_per_answer(world: World) -> None:
    told: list[tuple[str, int, int]] = []
    asked = world.asked()
    sets = record(GOLDENS, asked, now=RECORDED, on_answer=lambda *step: told.append(step))
    steps = [("answers", 1, 2), ("answers", 2, 2), ("vectors", 1, 1)]
    steps += [("nearest", 1, 2), ("nearest", 2, 2)]
    assert told == steps
    check(GOLDENS, sets, asked, now=DRILLED, on_answer=lambda *step: told.append(step))
    assert told == steps * 2


@pytest.mark.parametrize(("engine", "store"), [("embedder", False), ("", True)])
def test_what_was_not_started_is_named(world: World, engine: str, store: bool) -> None:
    everything = world.asked()
    asked = Asked(
        {engine: everything.engines[engine]} if engine else {},
        everything.stores if store else {},
    )
    with pytest.raises(UnavailableError, match='"embedder"' if store else '"documents"'):
        record({"nearest": GOLDENS["nearest"]}, asked, now=RECORDED)


def test_questions_of_a_file_follow_those_of_the_policy(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("second\n\n# third\n   \nvierte für alle")
    golden = CompletionGolden(
        kind="completion", engine="chat", prompts=("first",), prompts_file=file
    )
    assert questions("answers", golden) == ("first", "second", "# third", "vierte für alle")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"\n \n"])
def test_a_file_without_questions_is_the_policys_fault(
    content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PolicyError, match='golden "vectors"'):
        questions("vectors", EmbeddingGolden(kind="embedding", engine="embedder", texts_file=file))


def test_each_kind_has_its_tolerance() -> None:
    assert [tolerance_of(golden) for golden in GOLDENS.values()] == [
        Tolerance(min_agreement=0.9),
        Tolerance(min_cosine=0.999),
        Tolerance(min_recall=0.99),
    ]
    assert {golden.kind for golden in GOLDENS.values()} == {kind.value for kind in Kind}
