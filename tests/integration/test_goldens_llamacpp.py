"""Goldens recorded and replayed on the real llama.cpp."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.core.verdict import Verdict
from llmvault.drill.engines.interface import EnginePorts
from llmvault.drill.engines.registry import build_engine
from llmvault.drill.golden import model_digest
from llmvault.drill.goldens_run import Asked, StartedEngine, check, record
from llmvault.policy.engines import LlamaCppEngine
from llmvault.policy.model import CompletionGolden, EmbeddingGolden, Golden
from tests.fakes.gguf_model import write_embedding_model, write_language_model

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PORTS = EnginePorts(LocalRunner(os.environ), SystemClock())
GOLDENS: dict[str, Golden] = {
    "answers": CompletionGolden(
        kind="completion",
        engine="language",
        prompts=tuple(f"question {number}: how to restore" for number in range(8)),
        max_tokens=16,
    ),
    "vectors": EmbeddingGolden(
        kind="embedding",
        engine="embedding",
        texts=("restore drill", "verify a backup", "the vector store", "model weights"),
    ),
}


@contextmanager
def started(folder: Path, log: Path) -> Iterator[Asked]:
    engines = {
        name: build_engine(
            name,
            LlamaCppEngine(
                kind="llamacpp",
                source="models",
                model=f"{name}.gguf",
                embedding=name == "embedding",
            ),
            PORTS,
        )
        for name in ("language", "embedding")
    }
    models = {name: folder / f"{name}.gguf" for name in engines}
    with (
        engines["language"].start(models["language"], log) as language,
        engines["embedding"].start(models["embedding"], log) as embedding,
    ):
        sessions = {"language": language, "embedding": embedding}
        # The same whatever the weights, so that the answers alone decide.
        digests = {name: model_digest({f"{name}.gguf": "ab" * 32}) for name in sessions}
        yield Asked(
            {name: StartedEngine(sessions[name], "models", digests[name]) for name in sessions}, {}
        )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models") / "recorded", seed=7)


def write_models(folder: Path, *, seed: int) -> Path:
    folder.mkdir()
    write_language_model(folder / "language.gguf", seed=seed)
    write_embedding_model(folder / "embedding.gguf", seed=seed)
    return folder


def test_answers_are_proven_after_a_restart_and_fail_on_other_weights(
    models: Path, tmp_path: Path
) -> None:
    with started(models, tmp_path / "log") as asked:
        recorded = record(GOLDENS, asked, now=NOW)
    with started(models, tmp_path / "log") as asked:
        checks = check(GOLDENS, recorded, asked, now=NOW)
    assert [found.verdict for found in checks] == [Verdict.PROVEN, Verdict.PROVEN]
    assert checks[0].detail.endswith("on the same engine and device (128 tokens)")
    assert checks[1].detail.endswith("4 of 4 are the same to the last bit")

    other = write_models(tmp_path / "other", seed=8)
    with started(other, tmp_path / "log") as asked:
        checks = check(GOLDENS, recorded, asked, now=NOW)
    assert [found.verdict for found in checks] == [Verdict.FAILED, Verdict.FAILED]
