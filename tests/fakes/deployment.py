"""A deployment in memory: models in a folder, a store of vectors, engines that answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from llmvault.drill.recorder import LiveRecorder
from llmvault.drill.wiring import WiredEngine, Wiring
from llmvault.policy.model import CompletionGolden, EmbeddingGolden, Golden, NeighboursGolden
from llmvault.sources.interface import CollectionFacts
from tests.fakes.engine import FakeEngine
from tests.fakes.sources import FolderSource, StoreSource
from tests.fakes.store import FakeStore
from tests.vault import PLAN, Vault, write_tree

TEXTS = ("backup", "restore", "drill", "erasure")
QUERIES = ("how to restore", "how to drill")
PROMPTS = ("one", "two")


def weights(name: str) -> bytes:
    """Return a model that the fake engine loads."""
    return b"FAKE" + name.encode() + bytes(1000)


def goldens() -> dict[str, Golden]:
    """Return one golden of each kind."""
    return {
        "answers": CompletionGolden(
            kind="completion", engine="chat", prompts=PROMPTS, max_tokens=5
        ),
        "vectors": EmbeddingGolden(kind="embedding", engine="embedder", texts=("one",)),
        "nearest": NeighboursGolden(
            kind="neighbours",
            source="documents",
            collection="passages",
            engine="embedder",
            queries=QUERIES,
            k=2,
        ),
    }


@dataclass
class FakeDeployment:
    """Models and documents below a directory, with what answers.

    Attributes:
        chat, embedder: engines on ``models/chat.bin`` and ``models/embedder.bin``.
        store: the vectors of :data:`TEXTS`.
    """

    base: Path
    chat: FakeEngine = field(default_factory=lambda: FakeEngine("chat"))
    embedder: FakeEngine = field(default_factory=lambda: FakeEngine("embedder"))
    goldens: dict[str, Golden] = field(default_factory=goldens)

    def __post_init__(self) -> None:
        models = write_tree(
            self.base / "models", {f"{name}.bin": weights(name) for name in ("chat", "embedder")}
        )
        documents = write_tree(self.base / "documents", {"vectors": b"they are in memory"})
        log = self.base / "embedder.log"
        with self.embedder.start(models / "embedder.bin", log) as session:
            vectors = {text: session.embed((text,))[0] for text in TEXTS}
        self.embedder.starts = 0
        self.store = FakeStore({"passages": vectors})
        self.models = FolderSource("models", models)
        facts = (CollectionFacts("passages", len(TEXTS)),)
        self.documents = StoreSource("documents", documents, collections=facts, store=self.store)

    def protect(self, vault: Vault) -> None:
        """Let a vault back both sources up."""
        vault.add(self.models, self.documents)

    @property
    def wiring(self) -> Wiring:
        """What the policy would say."""
        return Wiring(
            engines={
                "chat": WiredEngine(self.chat, self.models, "chat.bin", False),
                "embedder": WiredEngine(self.embedder, self.models, "embedder.bin", True),
            },
            goldens=self.goldens,
            sources={"models": self.models, "documents": self.documents},
        )

    def recorder(self, vault: Vault) -> LiveRecorder:
        """Return what records the goldens at a backup."""
        logs = vault.state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        roots = {"models": self.models.path}
        return LiveRecorder(PLAN, self.wiring, roots, vault.memory, vault.clock, logs)
