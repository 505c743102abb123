"""Any OpenAI-compatible server, started by a command of the policy, as ``vllm serve`` is.

The answer's token ids are not part of that interface, so they are taken where a server offers them:
vLLM's ``return_token_ids`` (``token_ids`` of the choice) or ``return_tokens_as_token_ids``
(``token_id:N`` in the log probabilities), llama.cpp's ``return_tokens`` (``__verbose.tokens``).
llama.cpp's log probabilities are of no use for it: they leave out tokens that end inside of a
character. Where no ids are told, :class:`Completion` has none and its text counts.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import ClassVar

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command
from llmvault.drill.engines.answers import Vector, text, token_ids, unit_vector
from llmvault.drill.engines.http import Answer, Api, RejectedError, connect
from llmvault.drill.engines.interface import (
    UNKNOWN,
    Completion,
    EngineIdentity,
    EnginePorts,
    Session,
)
from llmvault.drill.engines.server import Child, start_child, wait_until_ready
from llmvault.policy.engines import OpenAIEngine

_SEED = 1
_BAD_REQUEST = (400, 422)
_TOKEN_PREFIX = "token_id:"  # noqa: S105  vLLM's way to write a token's id
# Beyond the standard; the penalties because a model's own generation settings may carry some.
_EXTENSIONS: dict[str, object] = {
    "top_k": 1,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,
    "logprobs": 1,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "return_tokens": True,
    "verbose": True,
    "cache_prompt": False,
}


class OpenAI:
    """A model answered by the policy's own server command."""

    kind: ClassVar[str] = "openai"

    def __init__(self, name: str, config: OpenAIEngine, ports: EnginePorts) -> None:
        self.name = name
        self._config = config
        self._ports = ports

    def available(self) -> str:
        """Return an empty text when the command's program is there, else the next step."""
        program = self._config.command[0]
        if which(program, path=self._config.environment.get("PATH")) is not None:
            return ""
        return f"{program} is not on PATH: install it, or correct the engine's `command`"

    @contextmanager
    def start(self, model: Path, log: Path) -> Iterator[Session]:
        """Run the command and wait until the probe answers."""
        thing = f'engine "{self.name}"'
        if not model.exists():
            raise UnavailableError(thing, f"{model} does not exist", "correct the engine's `model`")
        port = _free_port()
        command = _fill_in(self._config, model, port)
        with (
            start_child(thing, command, log, runner=self._ports.runner) as child,
            connect(
                child,
                f"http://127.0.0.1:{port}",
                limit=self._config.request_timeout.total_seconds(),
                clock=self._ports.clock,
            ) as api,
        ):
            self._wait(child, api)
            served = api.get("/v1/models", _served_models)
            yield _OpenAISession(
                api, self._config.served_model or served.pick(model), self._identify(api, served)
            )

    def _wait(self, child: Child, api: Api) -> None:
        wait_until_ready(
            child,
            lambda: api.answers(self._config.probe),
            self._config.start_timeout.total_seconds(),
            clock=self._ports.clock,
        )

    def _identify(self, api: Api, served: _Served) -> EngineIdentity:
        return EngineIdentity(
            engine=self.kind,
            version=_version(api, served.owner),
            device=self._config.device,
            dtype=self._config.dtype,
        )


class _OpenAISession:
    def __init__(self, api: Api, model: str, identity: EngineIdentity) -> None:
        self.identity = identity
        self._api = api
        self._model = model
        self._extensions = _EXTENSIONS

    def complete(self, prompt: str, max_tokens: int) -> Completion:
        """Answer greedily; a server that refuses the extensions is asked again without them."""
        question = {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": _SEED,
        }
        try:
            return self._post({**question, **self._extensions})
        except RejectedError as error:
            if error.status not in _BAD_REQUEST or not self._extensions:
                raise
        completion = self._post(question)
        self._extensions = {}
        return completion

    def _post(self, question: dict[str, object]) -> Completion:
        return self._api.post("/v1/completions", question, completion_of)

    def embed(self, texts: tuple[str, ...]) -> tuple[Vector, ...]:
        """Return one unit-length vector per text, each asked for alone.

        Texts in one batch could change each other's last bits.
        """
        return tuple(self._embed(item) for item in texts)

    def _embed(self, item: str) -> Vector:
        question = {"model": self._model, "input": item, "encoding_format": "float"}
        return self._api.post("/v1/embeddings", question, _vector)


@dataclass(frozen=True, slots=True)
class _Served:
    """What ``/v1/models`` tells: names in requests, the path each was loaded from, the server."""

    paths: Mapping[str, str]
    owner: str

    def pick(self, model: Path) -> str:
        """Return the name of the model loaded from a path; the first where no path is told."""
        loaded = (name for name, path in self.paths.items() if path == str(model))
        return next(loaded, next(iter(self.paths)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fill_in(config: OpenAIEngine, model: Path, port: int) -> Command:
    # Not str.format: arguments may hold JSON.
    argv = tuple(
        word.replace("{model}", str(model)).replace("{port}", str(port)) for word in config.command
    )
    return Command(argv, config.environment)


def _served_models(answer: Answer) -> _Served:
    models = answer["data"]
    paths = {text(model["id"]): str(model.get("root", model["id"])) for model in models}
    if not paths:
        raise ValueError("no model is served")
    return _Served(paths, str(models[0].get("owned_by", "")))


def _version(api: Api, owner: str) -> str:
    """Return e.g. ``vllm 0.33.0``: where vLLM, then where llama.cpp tells it."""
    for path, key in (("/version", "version"), ("/props", "build_info")):
        with suppress(RejectedError):
            return f"{owner} {_told(api, path, key)}".strip()
    return UNKNOWN


def _told(api: Api, path: str, key: str) -> str:
    return api.get(path, lambda answer: text(answer[key]))


def completion_of(answer: Answer) -> Completion:
    """Return the completion in an answer of ``/v1/completions``, with token ids if it tells any."""
    choice = answer["choices"][0]
    return Completion(_tokens(answer, choice), text(choice["text"]))


def _tokens(answer: Answer, choice: Answer) -> tuple[int, ...]:
    if (ids := choice.get("token_ids")) is not None:
        return token_ids(ids)
    if (verbose := answer.get("__verbose")) is not None:
        return token_ids(verbose.get("tokens", []))
    words = (choice.get("logprobs") or {}).get("tokens") or []
    if words and all(text(word).startswith(_TOKEN_PREFIX) for word in words):
        return tuple(int(word.removeprefix(_TOKEN_PREFIX)) for word in words)
    return ()


def _vector(answer: Answer) -> Vector:
    return unit_vector(answer["data"][0]["embedding"])
