"""What every inference engine must do, whatever runs behind it.

A binding subclasses :class:`EngineContract` and gives the fixtures `engine`, `model`,
`embedding_engine` and `embedding_model`; the models are small, and differ in answers by prompt.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from llmvault.core.errors import UnavailableError
from llmvault.drill.engines.interface import Engine, Session

PROMPTS = ("restore drill verifies", "The backup is", "vector store: 42%")


def processes_naming(word: str) -> list[str]:
    """Return the command lines of running processes that hold a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


class EngineContract:
    """The suite. `damaged` is a model that must not load."""

    @pytest.fixture
    def damaged(self, model: Path, tmp_path: Path) -> Path:
        """Return a copy of the model file that ends in the middle."""
        path = tmp_path / f"damaged{model.suffix}"
        content = model.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        return path

    def test_is_available_where_it_is_tested(self, engine: Engine) -> None:
        assert engine.available() == ""

    def test_answers_are_greedy_and_the_same_after_a_new_start(
        self, engine: Engine, model: Path, tmp_path: Path
    ) -> None:
        with engine.start(model, tmp_path / "one.log") as session:
            first = [session.complete(prompt, 12) for prompt in PROMPTS]
            identity = session.identity
        with engine.start(model, tmp_path / "two.log") as session:
            backwards = [session.complete(prompt, 12) for prompt in reversed(PROMPTS)]
            assert session.identity == identity
        assert first == backwards[::-1]
        assert len({answer.text for answer in first}) == len(PROMPTS)

    def test_tells_every_token_it_made(self, engine: Engine, model: Path, tmp_path: Path) -> None:
        with engine.start(model, tmp_path / "log") as session:
            answers = {count: session.complete(PROMPTS[0], count) for count in (1, 12)}
        assert [len(answer.tokens) for answer in answers.values()] == [1, 12]
        assert answers[12].tokens[0] == answers[1].tokens[0]
        assert all(token >= 0 for token in answers[12].tokens)

    def test_identity_says_what_answered(self, engine: Engine, model: Path, tmp_path: Path) -> None:
        with engine.start(model, tmp_path / "log") as session:
            identity = session.identity
        assert identity.engine == engine.kind
        assert all((identity.version, identity.device, identity.dtype))

    def test_vectors_have_unit_length_and_do_not_depend_on_company(
        self, embedding_engine: Engine, embedding_model: Path, tmp_path: Path
    ) -> None:
        with embedding_engine.start(embedding_model, tmp_path / "one.log") as session:
            together = session.embed(PROMPTS)
            assert session.embed(()) == ()
        with embedding_engine.start(embedding_model, tmp_path / "two.log") as session:
            alone = tuple(session.embed((prompt,))[0] for prompt in reversed(PROMPTS))
        assert together == alone[::-1]
        assert len({len(vector) for vector in together}) == 1
        assert len(set(together)) == len(PROMPTS)
        assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in together)

    def test_stops_when_the_context_ends(self, engine: Engine, model: Path, tmp_path: Path) -> None:
        with engine.start(model, tmp_path / "log") as session:
            session.complete(PROMPTS[0], 2)
        assert processes_naming(str(model)) == []
        with pytest.raises(UnavailableError):
            session.complete(PROMPTS[0], 2)

    def test_stops_when_the_caller_fails(self, engine: Engine, model: Path, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), engine.start(model, tmp_path / "log"):
            raise ZeroDivisionError
        assert processes_naming(str(model)) == []

    def test_a_missing_model_is_an_error(self, engine: Engine, tmp_path: Path) -> None:
        missing = tmp_path / "nowhere" / "model.gguf"
        with pytest.raises(UnavailableError, match=engine.name):
            _start(engine, missing, tmp_path / "log")

    def test_a_damaged_model_is_an_error(
        self, engine: Engine, damaged: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(UnavailableError, match=r"(?s)ended before|crashed|refused"):
            _start(engine, damaged, tmp_path / "log")
        assert processes_naming(str(damaged)) == []


def _start(engine: Engine, model: Path, log: Path) -> Session:
    with engine.start(model, log) as session:
        return session
