"""llama.cpp that crashes, hangs, refuses; and that its token ids are real."""

import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.errors import UnavailableError
from llmvault.core.process import LocalRunner
from llmvault.drill.engines.interface import EnginePorts
from llmvault.drill.engines.llamacpp import LlamaCpp
from llmvault.drill.engines.openai import OpenAI
from llmvault.policy.engines import LlamaCppEngine, OpenAIEngine
from tests.fakes.gguf_model import BYTE_TOKENS, write_embedding_model, write_language_model

PORTS = EnginePorts(LocalRunner(os.environ), SystemClock())
PROMPT = "restore drill verifies"

pytestmark = pytest.mark.integration


def engine(*, embedding: bool = False, request: float = 20, context: int = 64) -> LlamaCpp:
    config = LlamaCppEngine(
        kind="llamacpp",
        source="models",
        model="tiny.gguf",
        embedding=embedding,
        context=context,
        start_timeout=timedelta(seconds=30),
        request_timeout=timedelta(seconds=request),
    )
    return LlamaCpp("language", config, PORTS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("language") / "tiny.gguf")


@pytest.fixture
def stopped_workers() -> Iterator[list[int]]:
    """Process ids that must run again so that they can be terminated."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def worker_of(model: Path) -> int:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if str(model).encode() in path.read_bytes():
            return int(path.parent.name)
    raise AssertionError("no worker runs")


def test_token_ids_are_those_of_the_text(model: Path, tmp_path: Path) -> None:
    with engine().start(model, tmp_path / "log") as session:
        answer = session.complete(PROMPT, 12)
    assert set(answer.tokens) <= set(BYTE_TOKENS)
    spelled = b"".join(BYTE_TOKENS[token] for token in answer.tokens)
    assert spelled.decode("utf-8", "replace") == answer.text


def test_the_http_interface_tells_the_same_tokens(model: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "llmvault.drill.engines.llamacpp_worker")
    config = OpenAIEngine(
        kind="openai",
        source="models",
        model="tiny.gguf",
        command=(*command, "--model", "{model}", "--port", "{port}"),
    )
    with engine().start(model, tmp_path / "one.log") as session:
        native = session.complete(PROMPT, 12)
    with OpenAI("served", config, PORTS).start(model, tmp_path / "two.log") as session:
        assert session.complete(PROMPT, 12) == native
        assert session.identity.version.startswith("llamacpp ")


def test_other_weights_answer_otherwise(model: Path, tmp_path: Path) -> None:
    other = write_language_model(tmp_path / "other.gguf", seed=8)
    with engine().start(model, tmp_path / "one.log") as session:
        recorded = session.complete(PROMPT, 12)
    with engine().start(other, tmp_path / "two.log") as session:
        assert session.complete(PROMPT, 12).tokens != recorded.tokens


def test_identity_names_version_processor_and_dtype(model: Path, tmp_path: Path) -> None:
    with engine().start(model, tmp_path / "log") as session:
        identity = session.identity
    assert identity.version.startswith("xllamacpp 2")
    assert identity.device.startswith("cpu ")
    assert identity.dtype == "f32"


def test_the_only_model_of_a_directory_is_found(model: Path, tmp_path: Path) -> None:
    with engine().start(model.parent, tmp_path / "log") as session:
        assert session.complete(PROMPT, 1).tokens


def test_a_directory_with_two_models_is_ambiguous(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with (
        pytest.raises(UnavailableError, match="holds 2 GGUF models"),
        engine().start(tmp_path, tmp_path / "log"),
    ):
        pytest.fail("it must not start")


def test_a_crash_while_answering(model: Path, tmp_path: Path) -> None:
    with engine().start(model, tmp_path / "log") as session:
        os.kill(worker_of(model), signal.SIGKILL)
        with pytest.raises(UnavailableError, match=r"crashed while .* \(killed by SIGKILL\)"):
            session.complete(PROMPT, 4)


def test_a_hang_while_answering(model: Path, tmp_path: Path, stopped_workers: list[int]) -> None:
    with engine(request=0.5).start(model, tmp_path / "log") as session:
        stopped_workers.append(worker_of(model))
        os.kill(stopped_workers[0], signal.SIGSTOP)
        with pytest.raises(UnavailableError, match="hung while answering /completion"):
            session.complete(PROMPT, 4)
        os.kill(stopped_workers.pop(), signal.SIGCONT)


def test_a_prompt_longer_than_the_context_is_refused(model: Path, tmp_path: Path) -> None:
    with (
        engine().start(model, tmp_path / "log") as session,
        pytest.raises(UnavailableError, match=r"HTTP 400: .*exceeds the available context"),
    ):
        session.complete("x" * 500, 4)


def test_a_damaged_model_is_named_with_the_reason(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(model.read_bytes()[:-1000])
    with (
        pytest.raises(UnavailableError) as caught,
        engine().start(damaged, tmp_path / "log"),
    ):
        pytest.fail("it must not start")
    assert "crashed while loading the model (exit code 1)" in caught.value.cause
    assert "file bounds" in caught.value.cause
    # llama.cpp's own log comes late, so that this line may not be among the last ones quoted
    assert f"cannot load {damaged}" in (tmp_path / "log").read_text()


def test_a_completion_model_does_not_embed(model: Path, tmp_path: Path) -> None:
    with (
        engine().start(model, tmp_path / "log") as session,
        pytest.raises(UnavailableError, match="does not support embeddings"),
    ):
        session.embed((PROMPT,))


def test_texts_that_mean_the_same_tokens_have_the_same_vector(tmp_path: Path) -> None:
    model = write_embedding_model(tmp_path / "embedding.gguf")
    with engine(embedding=True).start(model, tmp_path / "log") as session:
        one, other, unlike = session.embed(("Restore drill", "restore  drill", "vector store"))
    assert one == other != unlike
