"""An inference engine in memory: answers follow from the model's bytes and the prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from llmvault.core.errors import UnavailableError
from llmvault.drill.engines.answers import unit_vector
from llmvault.drill.engines.interface import Completion, EngineIdentity, Session

IDENTITY = EngineIdentity("fake", "fake 1", "cpu imagined", "f32")
_DIMENSION = 16
_MAGIC = (b"GGUF", b"FAKE")


class FakeEngine:
    """Starts on any file that begins with ``GGUF`` or ``FAKE``.

    Attributes:
        starts: how often it was started.
        running: how many sessions are open.
        before: called with every prompt and text; may raise, as a crashed engine would.
    """

    kind: ClassVar[str] = "fake"

    def __init__(self, name: str = "fake", *, identity: EngineIdentity = IDENTITY) -> None:
        self.name = name
        self.identity = identity
        self.missing = ""
        self.tells_tokens = True
        self.starts = 0
        self.running = 0
        self.before: Callable[[str], None] = lambda asked: None

    def available(self) -> str:
        """Return what a test put into `missing`."""
        return self.missing

    @contextmanager
    def start(self, model: Path, log: Path) -> Iterator[Session]:
        """Read the model and answer from its digest."""
        if self.missing:
            raise UnavailableError(f'engine "{self.name}"', self.missing)
        content = _read(self.name, model)
        log.write_text(f"loaded {model}\n")
        self.starts += 1
        self.running += 1
        session = _FakeSession(self, content)
        try:
            yield session
        finally:
            self.running -= 1
            session.open = False


class _FakeSession:
    def __init__(self, engine: FakeEngine, content: bytes) -> None:
        self.identity = engine.identity
        self.open = True
        self._engine = engine
        self._digest = hashlib.sha256(content).digest()

    def complete(self, prompt: str, max_tokens: int) -> Completion:
        """Answer with tokens drawn from the digest of model and prompt."""
        self._ask(prompt)
        tokens = tuple(self._stream(prompt, max_tokens))
        text = " ".join(f"w{token}" for token in tokens)
        return Completion(tokens if self._engine.tells_tokens else (), text)

    def embed(self, texts: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Return one vector per text drawn from the digest of model and text."""
        return tuple(self._embed(text) for text in texts)

    def _embed(self, text: str) -> tuple[float, ...]:
        self._ask(text)
        return unit_vector([value - 127.5 for value in self._stream(text, _DIMENSION)])

    def _ask(self, text: str) -> None:
        if not self.open:
            raise UnavailableError(f'engine "{self._engine.name}"', "was stopped")
        self._engine.before(text)

    def _stream(self, text: str, count: int) -> list[int]:
        drawn = b""
        while len(drawn) < count:
            block = self._digest + text.encode() + len(drawn).to_bytes(4, "big")
            drawn += hashlib.sha256(block).digest()
        return list(drawn[:count])


def _read(name: str, model: Path) -> bytes:
    try:
        content = model.read_bytes()
    except OSError as error:
        raise UnavailableError(f'engine "{name}"', f"{model} cannot be read: {error}") from error
    if not content.startswith(_MAGIC) or len(content) < 1000:
        raise UnavailableError(
            f'engine "{name}"', f"ended before it was ready: {model} is no model"
        )
    return content
