"""Hugging Face transformers on torch, in a process of our own: safetensors models.

torch is several gigabytes, so it is an extra and not there unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command
from llmvault.drill.engines.answers import Vector, text, token_ids, unit_vector
from llmvault.drill.engines.interface import (
    Completion,
    EngineIdentity,
    EnginePorts,
    Session,
)
from llmvault.drill.engines.pipe import Answer, Pipe, start_worker
from llmvault.drill.engines.worker import worker_command
from llmvault.policy.engines import TransformersEngine

_ENVIRONMENT = {
    # What was restored must be enough: nothing may come from the Hub.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # cuBLAS gives the same bits twice only with a fixed workspace (CUDA documentation, cuBLAS).
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


class Transformers:
    """A safetensors model answered by transformers."""

    kind: ClassVar[str] = "transformers"

    def __init__(self, name: str, config: TransformersEngine, ports: EnginePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def available(self) -> str:
        """Return an empty text when torch and transformers are installed, else the next step."""
        missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
        if not missing:
            return ""
        return (
            f"extra transformers is not installed ({', '.join(missing)} missing): "
            "pip install 'llmvault[transformers]', several GB"
        )

    @contextmanager
    def start(self, model: Path, log: Path) -> Iterator[Session]:
        """Load a model directory and wait until it can be asked."""
        thing = f'engine "{self.name}"'
        if reason := self.available():
            raise UnavailableError(thing, reason)
        command = self._command(model, log)
        with start_worker(thing, command, log, runner=self._ports.runner) as pipe:
            limit = self._config.start_timeout.total_seconds()
            identity = pipe.receive(_identity, doing="loading the model", limit=limit)
            yield _TransformersSession(pipe, identity, self._config.request_timeout.total_seconds())

    def _command(self, model: Path, log: Path) -> Command:
        options = {
            "--model": str(model),
            "--log": str(log),
            "--device": self._config.device,
            "--dtype": self._config.dtype,
        }
        arguments = [word for option in options.items() for word in option]
        if self._config.embedding:
            arguments.append("--embedding")
        return worker_command(
            "llmvault.drill.engines.transformers_worker", *arguments, environment=_ENVIRONMENT
        )


class _TransformersSession:
    def __init__(self, pipe: Pipe, identity: EngineIdentity, limit: float) -> None:
        self.identity = identity
        self._pipe = pipe
        self._limit = limit

    def complete(self, prompt: str, max_tokens: int) -> Completion:
        """Answer greedily."""
        question = {"prompt": prompt, "max_tokens": max_tokens}
        return self._pipe.ask(question, _completion, limit=self._limit)

    def embed(self, texts: tuple[str, ...]) -> tuple[Vector, ...]:
        """Return one unit-length vector per text, each computed alone, so without padding."""
        return tuple(self._pipe.ask({"embed": item}, _vector, limit=self._limit) for item in texts)


def _identity(answer: Answer) -> EngineIdentity:
    told = {name: text(answer[name]) for name in ("version", "device", "dtype")}
    return EngineIdentity(engine=Transformers.kind, **told)


def _completion(answer: Answer) -> Completion:
    return Completion(token_ids(answer["tokens"]), text(answer["text"]))


def _vector(answer: Answer) -> Vector:
    return unit_vector(answer["vector"])
