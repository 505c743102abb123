"""What becomes of servers that misbehave, and where token ids are found."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.errors import UnavailableError
from llmvault.core.process import LocalRunner
from llmvault.drill.engines.interface import UNKNOWN, Completion, EnginePorts, Session
from llmvault.drill.engines.openai import OpenAI, completion_of
from llmvault.policy.engines import OpenAIEngine
from tests.contract.engine import processes_naming
from tests.fakes import bad_server

PORTS = EnginePorts(LocalRunner(os.environ), SystemClock())


def engine(mode: str, *, start: float = 20, request: float = 20) -> OpenAI:
    config = OpenAIEngine(
        kind="openai",
        source="models",
        model="m",
        command=(sys.executable, bad_server.__file__, mode, "{port}", "{model}"),
        start_timeout=timedelta(seconds=start),
        request_timeout=timedelta(seconds=request),
    )
    return OpenAI("served", config, PORTS)


@contextmanager
def started(engine: OpenAI, folder: Path) -> Iterator[Session]:
    model = folder / "model"
    model.mkdir()
    try:
        with engine.start(model, folder / "log") as session:
            assert len(processes_naming(str(model))) == 1
            yield session
    finally:
        assert processes_naming(str(model)) == []


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("exits", "ended before it was ready (exit code 1); its log ends: "),
        ("no-models", "answered /v1/models with garbage"),
    ],
)
def test_a_server_that_does_not_come_up(mode: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught, started(engine(mode), tmp_path):
        pytest.fail("it must not start")
    assert caught.value.thing == 'engine "served"'
    assert told in caught.value.cause
    assert f"bad server in mode {mode}" in caught.value.cause
    assert str(tmp_path / "log") in caught.value.next_step


@pytest.mark.parametrize("mode", ["never-ready", "mute"])
def test_a_server_that_is_never_ready(mode: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught, started(engine(mode, start=0.7), tmp_path):
        pytest.fail("it must not start")
    assert "hung while starting: nothing within 0.7 s" in caught.value.cause
    assert "start_timeout" in caught.value.next_step


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("crashes", "crashed while answering /v1/completions (killed by SIGSEGV)"),
        ("hangs", "hung while answering /v1/completions: nothing within 0.5 s"),
        ("trickles", "hung while answering /v1/completions: nothing within 0.5 s"),
        ("not-json", "answered /v1/completions with no JSON object: <html>hello</html>"),
        ("http-500", "answered /v1/completions with HTTP 500: out of memory"),
        ("wrong-shape", "answered /v1/completions with garbage: IndexError"),
    ],
)
def test_a_server_that_does_not_answer(mode: str, told: str, tmp_path: Path) -> None:
    with (
        started(engine(mode, request=0.5), tmp_path) as session,
        pytest.raises(UnavailableError) as caught,
    ):
        session.complete("hello", 4)
    assert caught.value.cause.startswith(told)
    assert f"bad server in mode {mode}" in caught.value.cause


def test_the_last_words_of_a_crash_are_told(tmp_path: Path) -> None:
    with (
        started(engine("crashes"), tmp_path) as session,
        pytest.raises(UnavailableError, match="assertion failed: the answer is 42"),
    ):
        session.complete("hello", 4)


def test_a_vector_that_is_none(tmp_path: Path) -> None:
    with (
        started(engine("wrong-shape"), tmp_path) as session,
        pytest.raises(UnavailableError, match="answered /v1/embeddings with garbage"),
    ):
        session.embed(("hello",))


def test_a_server_that_knows_the_standard_only(tmp_path: Path) -> None:
    with started(engine("strict"), tmp_path) as session:
        assert session.complete("hello", 4) == Completion((), "you said hello")
        assert session.complete("again", 4) == Completion((), "you said again")
        assert session.embed(("hello",)) == ((0.6, 0.0, 0.8),)
        assert session.identity.version == UNKNOWN


def test_earlier_text_in_the_log_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("the day before yesterday\n")
    with pytest.raises(UnavailableError) as caught, started(engine("exits"), tmp_path):
        pytest.fail("it must not start")
    assert "yesterday" not in caught.value.cause


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    config = OpenAIEngine(
        kind="openai", source="models", model="m", command=("no-such-program-here", "{port}")
    )
    missing = OpenAI("served", config, PORTS)
    assert "no-such-program-here is not on PATH" in missing.available()
    with (
        pytest.raises(UnavailableError, match=r'engine "served".*no-such-program-here'),
        started(missing, tmp_path),
    ):
        pytest.fail("it must not start")


VLLM = {"choices": [{"text": " world", "token_ids": [12, 7], "logprobs": {"tokens": ["a", "b"]}}]}
OLD_VLLM = {"choices": [{"text": "ab", "logprobs": {"tokens": ["token_id:12", "token_id:7"]}}]}
LLAMA = {"choices": [{"text": "ab", "logprobs": None}], "__verbose": {"tokens": [12, 7]}}
WORDS = {"choices": [{"text": "ab", "logprobs": {"tokens": ["a", "b"]}}]}


@pytest.mark.parametrize(
    ("answer", "tokens"), [(VLLM, (12, 7)), (OLD_VLLM, (12, 7)), (LLAMA, (12, 7)), (WORDS, ())]
)
def test_token_ids_are_taken_where_they_are_told(
    answer: dict[str, object], tokens: tuple[int, ...]
) -> None:
    assert completion_of(answer).tokens == tokens
