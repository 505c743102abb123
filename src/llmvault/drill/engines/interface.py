"""What an inference engine does for a drill: start on a restored model, answer, stop.

An engine runs in a process of its own, so that a crash, a hang or its memory never becomes ours.
Every engine passes ``tests/contract/engine.py``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from llmvault.core.clock import Clock
from llmvault.core.process import Runner


@dataclass(frozen=True, slots=True)
class EnginePorts:
    """What an engine may use of the outside world; built as ``Engine(name, config, ports)``."""

    runner: Runner
    clock: Clock


UNKNOWN = "unknown"
"""In an :class:`EngineIdentity`: it was neither declared nor told. Never equal to anything."""


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """What answered. Goldens are compared exactly only when all four are known and equal.

    Attributes:
        engine: e.g. ``llamacpp``.
        version: of the engine, e.g. ``xllamacpp 2026.10.11549``.
        device: e.g. ``cpu`` with the processor's model name, ``cuda`` with the card's name.
        dtype: of the weights as computed with, e.g. ``f16``, ``bfloat16``.
    """

    engine: str
    version: str
    device: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Completion:
    """A greedy answer.

    Attributes:
        tokens: token ids in order; empty when the server does not tell (then text counts).
        text: the answer.
    """

    tokens: tuple[int, ...]
    text: str


class Session(Protocol):
    """A started engine."""

    identity: EngineIdentity

    def complete(self, prompt: str, max_tokens: int) -> Completion:
        """Answer greedily (temperature 0, no sampling).

        Raises:
            UnavailableError: when it crashed, hung beyond the request time-out, or refused; the
                cause names which, with the last lines of its log.
        """

    def embed(self, texts: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Return one unit-length vector per text, in order.

        Raises:
            UnavailableError: as for :meth:`complete`.
        """


class Engine(Protocol):
    """One configured engine."""

    kind: ClassVar[str]
    name: str

    def available(self) -> str:
        """Return an empty text when it can be started here, else the reason and the next step."""

    def start(self, model: Path, log: Path) -> AbstractContextManager[Session]:
        """Start on a model file or directory and wait until it answers; stop when the context ends.

        Raises:
            UnavailableError: when it is not installed, crashes, or is not ready in time; the cause
                carries the last lines of its log.
        """
