"""llama.cpp in a process of our own (package ``xllamacpp``): GGUF models.

Talks to llama.cpp's native ``/completion``, which tells token ids, and to ``/v1/embeddings``
(https://github.com/ggml-org/llama.cpp/tree/master/tools/server).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command
from llmvault.drill.engines.answers import Vector, text, token_ids, unit_vector
from llmvault.drill.engines.http import Answer, Api, connect
from llmvault.drill.engines.interface import (
    Completion,
    EngineIdentity,
    EnginePorts,
    Session,
)
from llmvault.drill.engines.pipe import start_worker
from llmvault.drill.engines.worker import worker_command
from llmvault.policy.engines import LlamaCppEngine

_SEED = 1


@dataclass(frozen=True, slots=True)
class _Report:
    address: str
    token: str
    version: str
    device: str


class LlamaCpp:
    """A GGUF answered by llama.cpp."""

    kind: ClassVar[str] = "llamacpp"

    def __init__(self, name: str, config: LlamaCppEngine, ports: EnginePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def available(self) -> str:
        """Return an empty text when xllamacpp is installed, else the next step."""
        if find_spec("xllamacpp") is not None:
            return ""
        return "the package xllamacpp is not installed: pip install 'llmvault[llamacpp]'"

    @contextmanager
    def start(self, model: Path, log: Path) -> Iterator[Session]:
        """Load a GGUF, or the only (first) GGUF of a directory, and wait until it is served."""
        thing = f'engine "{self.name}"'
        if reason := self.available():
            raise UnavailableError(thing, reason)
        command = self._command(_gguf(thing, model), log)
        limit = self._config.request_timeout.total_seconds()
        with start_worker(thing, command, log, runner=self._ports.runner) as pipe:
            start_limit = self._config.start_timeout.total_seconds()
            report = pipe.receive(_report, doing="loading the model", limit=start_limit)
            with connect(
                pipe.child,
                report.address,
                limit=limit,
                clock=self._ports.clock,
                token=report.token,
            ) as api:
                yield _LlamaCppSession(api, _identity(api, report))

    def _command(self, model: Path, log: Path) -> Command:
        options = {
            "--model": str(model),
            "--log": str(log),
            "--context": str(self._config.context),
            "--threads": str(self._config.threads),
            "--gpu-layers": str(self._config.gpu_layers),
        }
        arguments = [word for option in options.items() for word in option]
        if self._config.embedding:
            arguments.append("--embedding")
        return worker_command("llmvault.drill.engines.llamacpp_worker", *arguments, environment={})


class _LlamaCppSession:
    def __init__(self, api: Api, identity: EngineIdentity) -> None:
        self.identity = identity
        self._api = api

    def complete(self, prompt: str, max_tokens: int) -> Completion:
        """Answer greedily."""
        question: dict[str, object] = {
            "prompt": prompt,
            "n_predict": max_tokens,
            "temperature": 0,
            "top_k": 1,
            # A GGUF may carry penalties of its own; with this sampler alone none applies.
            "samplers": ["top_k"],
            "seed": _SEED,
            "cache_prompt": False,
            "return_tokens": True,
        }
        return self._api.post("/completion", question, _completion)

    def embed(self, texts: tuple[str, ...]) -> tuple[Vector, ...]:
        """Return one unit-length vector per text, each asked for alone.

        Texts in one batch could change each other's last bits.
        """
        return tuple(self._api.post("/v1/embeddings", {"input": item}, _vector) for item in texts)


def _gguf(thing: str, model: Path) -> Path:
    if not model.is_dir():
        return model
    files = sorted(model.glob("*.gguf"))
    first = [file for file in files if "-00001-of-" in file.name]
    if len(files) == 1 or len(first) == 1:
        return (first or files)[0]
    raise UnavailableError(
        thing,
        f"{model} holds {len(files)} GGUF models, one is needed",
        "name the file in the engine's `model`",
    )


def _report(answer: Answer) -> _Report:
    return _Report(**{name: text(answer[name]) for name in _Report.__slots__})


def _identity(api: Api, report: _Report) -> EngineIdentity:
    dtype = api.get("/v1/models", lambda answer: text(answer["data"][0]["meta"]["ftype"]))
    return EngineIdentity(
        engine=LlamaCpp.kind,
        version=report.version,
        device=report.device,
        dtype=dtype.removeprefix("all ").lower(),
    )


def _completion(answer: Answer) -> Completion:
    return Completion(token_ids(answer["tokens"]), text(answer["content"]))


def _vector(answer: Answer) -> Vector:
    return unit_vector(answer["data"][0]["embedding"])
