"""The contract of sources for datasets as streams, on our fake ``zfs``.

``tests/integration/test_zfs_stream.py`` holds the fake program and a real pool to the same tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmvault.policy.sources import ZfsStreamSource
from llmvault.sources.interface import Source
from llmvault.sources.zfs_stream import ZfsStream
from llmvault.sources.zfs_stream.streams import parse_name
from tests.contract.source import SourceContract, SourceExample, capture_into, local_ports
from tests.zfs_pools import POOL, FakePool, fake_pool

DATASET = f"{POOL}/data"


def driver(pool: FakePool, dataset: str) -> ZfsStream:
    config = ZfsStreamSource.model_validate({"kind": "zfs_stream", "dataset": dataset})
    return ZfsStream("tank", config, local_ports({**os.environ, **pool.environment}))


class TestZfsStream(SourceContract):
    @pytest.fixture
    def pool(self, tmp_path: Path) -> FakePool:
        pool = fake_pool(tmp_path)
        pool.create(DATASET, encrypted=True)
        pool.write(DATASET, "content")
        self._pool = pool
        return pool

    @pytest.fixture
    def example(self, pool: FakePool) -> SourceExample:
        # its file is named after the guid of a snapshot that is made when it is captured
        return SourceExample(
            driver(pool, DATASET), files=frozenset({"any"}), collections=frozenset({"."})
        )

    def fingerprint(self, example: SourceExample) -> object:
        return self._pool.state["datasets"]

    def assert_released(self, example: SourceExample) -> None:
        assert self._pool.snapshots() == {}

    def test_a_capture_holds_every_expected_file(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        capture_into(example.source, tmp_path / "restored", tmp_path)
        (file,) = (tmp_path / "restored").iterdir()
        assert (parsed := parse_name(file.name)) is not None
        assert (parsed.place, parsed.since) == (0, "")

    @pytest.fixture
    def missing(self, pool: FakePool) -> Source:
        return driver(pool, f"{POOL}/nosuch")

    def damage(self, restored: Path) -> None:
        (file,) = restored.iterdir()
        file.write_bytes(file.read_bytes()[:-1])
