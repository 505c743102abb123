"""transformers on torch passes the contract; ``scripts/test-engines`` runs this with the extra."""

from __future__ import annotations

import os
import shutil
import signal
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.errors import UnavailableError
from llmvault.core.process import LocalRunner
from llmvault.drill.engines.interface import Engine, EnginePorts
from llmvault.drill.engines.registry import build_engine
from llmvault.policy.engines import TransformersEngine
from tests.contract.engine import PROMPTS, EngineContract
from tests.fakes import safetensors_model

PORTS = EnginePorts(LocalRunner(os.environ), SystemClock())
INSTALLED = find_spec("torch") is not None and find_spec("transformers") is not None

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not INSTALLED,
        reason="extra transformers is not installed; scripts/test-engines runs this with it",
    ),
]


def has_card() -> bool:
    if not INSTALLED:
        return False
    import torch

    return bool(torch.cuda.is_available())


def build(*, device: str = "cpu", embedding: bool = False, dtype: str = "auto") -> Engine:
    config = TransformersEngine.model_validate(
        {
            "kind": "transformers",
            "source": "models",
            "model": "tiny",
            "device": device,
            "embedding": embedding,
            "dtype": dtype,
            "start_timeout": timedelta(seconds=120),
            "request_timeout": timedelta(seconds=60),
        }
    )
    return build_engine("language", config, PORTS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return safetensors_model.write_language_model(tmp_path_factory.mktemp("language") / "tiny")


@pytest.fixture(scope="module")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return safetensors_model.write_embedding_model(tmp_path_factory.mktemp("embedding") / "tiny")


class TestTransformers(EngineContract):
    """transformers in our own worker, on the processor."""

    @pytest.fixture
    def engine(self) -> Engine:
        return build()

    @pytest.fixture
    def embedding_engine(self) -> Engine:
        return build(embedding=True)

    @pytest.fixture
    def damaged(self, model: Path, tmp_path: Path) -> Path:
        copy = tmp_path / "damaged"
        shutil.copytree(model, copy)
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        return copy

    def test_pickled_weights_are_not_loaded(self, model: Path, tmp_path: Path) -> None:
        import torch
        from safetensors.torch import load_file

        copy = tmp_path / "pickled"
        shutil.copytree(model, copy)
        weights = copy / "model.safetensors"
        torch.save(load_file(weights), copy / "pytorch_model.bin")
        weights.unlink()
        with (
            pytest.raises(UnavailableError, match=r"crashed while loading.*safetensors"),
            build().start(copy, tmp_path / "log"),
        ):
            pytest.fail("it must not start")

    def test_the_dtype_is_the_one_computed_with(self, model: Path, tmp_path: Path) -> None:
        with build(dtype="bfloat16").start(model, tmp_path / "log") as session:
            assert session.identity.dtype == "bfloat16"
            assert len(session.complete(PROMPTS[0], 4).tokens) == 4

    def test_a_refused_question_does_not_end_the_session(self, model: Path, tmp_path: Path) -> None:
        with build().start(model, tmp_path / "log") as session:
            with pytest.raises(UnavailableError, match="refused while answering"):
                session.complete(PROMPTS[0], -1)
            assert session.complete(PROMPTS[0], 4).tokens

    def test_a_crash_while_answering(self, model: Path, tmp_path: Path) -> None:
        with build().start(model, tmp_path / "log") as session:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                if str(model).encode() in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
            with pytest.raises(UnavailableError, match=r"crashed while .* \(killed by SIGKILL\)"):
                session.complete(PROMPTS[0], 4)


@pytest.mark.skipif(not has_card(), reason="no CUDA card here")
class TestTransformersOnCuda(TestTransformers):
    """The same on the first CUDA card."""

    @pytest.fixture
    def engine(self) -> Engine:
        return build(device="cuda")

    @pytest.fixture
    def embedding_engine(self) -> Engine:
        return build(device="cuda", embedding=True)

    def test_the_device_is_the_card(self, engine: Engine, model: Path, tmp_path: Path) -> None:
        with engine.start(model, tmp_path / "log") as session:
            assert session.identity.device.startswith("cuda ")
