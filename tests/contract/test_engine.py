"""The fake, llama.cpp, and a server behind the OpenAI interface pass the contract."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.drill.engines.interface import Engine, EnginePorts
from llmvault.drill.engines.registry import build_engine
from llmvault.policy.engines import LlamaCppEngine, OpenAIEngine
from tests.contract.engine import EngineContract
from tests.fakes.engine import FakeEngine
from tests.fakes.gguf_model import write_embedding_model, write_language_model

PORTS = EnginePorts(LocalRunner(os.environ), SystemClock())
LIMITS = {"start_timeout": timedelta(seconds=60), "request_timeout": timedelta(seconds=30)}
SERVER = (
    *(sys.executable, "-P", "-m", "llmvault.drill.engines.llamacpp_worker"),
    *("--model", "{model}", "--port", "{port}"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("language") / "tiny.gguf")


@pytest.fixture(scope="module")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_embedding_model(tmp_path_factory.mktemp("embedding") / "tiny.gguf")


class TestFakeEngine(EngineContract):
    """The fake is held to what the real ones do."""

    @pytest.fixture
    def engine(self) -> Engine:
        return FakeEngine("imagined")

    @pytest.fixture
    def embedding_engine(self) -> Engine:
        return FakeEngine("imagined")

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        path = tmp_path / "damaged.gguf"
        path.write_bytes(b"GGUF and nothing more")
        return path


@pytest.mark.integration
class TestLlamaCpp(EngineContract):
    """llama.cpp in our own worker."""

    @pytest.fixture
    def engine(self) -> Engine:
        config = LlamaCppEngine(
            kind="llamacpp", source="models", model="tiny.gguf", context=128, **LIMITS
        )
        return build_engine("language", config, PORTS)

    @pytest.fixture
    def embedding_engine(self) -> Engine:
        config = LlamaCppEngine(
            kind="llamacpp", source="models", model="tiny.gguf", embedding=True, **LIMITS
        )
        return build_engine("embedding", config, PORTS)


@pytest.mark.integration
class TestOpenAI(EngineContract):
    """The real llama.cpp HTTP server, started by a command."""

    @pytest.fixture
    def engine(self) -> Engine:
        config = OpenAIEngine(
            kind="openai", source="models", model="tiny.gguf", command=SERVER, **LIMITS
        )
        return build_engine("language", config, PORTS)

    @pytest.fixture
    def embedding_engine(self) -> Engine:
        config = OpenAIEngine(
            kind="openai",
            source="models",
            model="tiny.gguf",
            command=(*SERVER, "--embedding"),
            embedding=True,
            **LIMITS,
        )
        return build_engine("embedding", config, PORTS)
