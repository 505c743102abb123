"""The fakes of sources against the contract of every source, so that they stand for real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.sources.interface import CollectionFacts, ModelFacts, Source
from tests.contract.source import (
    LocatesModelContract,
    OpensContract,
    SourceContract,
    SourceExample,
)
from tests.fakes.sources import STREAM, FolderSource, StoreSource, StreamSource
from tests.fakes.store import FakeStore


class TestFolderSource(SourceContract, LocatesModelContract):
    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        root = tmp_path / "live"
        (root / "inner").mkdir(parents=True)
        (root / "weights.bin").write_bytes(bytes(2000))
        (root / "inner" / "config.json").write_text("{}")
        return SourceExample(
            FolderSource("models", root, models=(ModelFacts("weights.bin", "gguf"),)),
            files=frozenset({"weights.bin", "inner/config.json"}),
            models=frozenset({"weights.bin"}),
            directory=root,
        )

    @pytest.fixture
    def model(self) -> str:
        return "weights.bin"

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return FolderSource("models", tmp_path / "absent")

    def damage(self, restored: Path) -> None:
        (restored / "inner" / "config.json").unlink()


class TestStoreSource(SourceContract, OpensContract):
    @pytest.fixture
    def example(self, tmp_path: Path) -> SourceExample:
        root = tmp_path / "live"
        root.mkdir()
        (root / "vectors").write_bytes(b"1, 2, 3")
        store = FakeStore({"passages": {"one": (1.0, 0.0), "two": (0.0, 1.0)}})
        facts = (CollectionFacts("passages", 2, 2),)
        return SourceExample(
            StoreSource("documents", root, collections=facts, store=store),
            files=frozenset({"vectors"}),
            collections=frozenset({"passages"}),
            directory=root,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return StoreSource("documents", tmp_path / "absent")

    def damage(self, restored: Path) -> None:
        (restored / "vectors").unlink()


class TestStreamSource(SourceContract):
    @pytest.fixture
    def example(self) -> SourceExample:
        return SourceExample(StreamSource("database", [b"one", b"two"]), files=frozenset({STREAM}))

    @pytest.fixture
    def missing(self) -> Source:
        return StreamSource("database", [])

    def damage(self, restored: Path) -> None:
        (restored / STREAM).write_bytes(b"onetwo!")
