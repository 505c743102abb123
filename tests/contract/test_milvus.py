"""The driver of Milvus passes the suites on milvus-lite: its directory, and its server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmvault.core.verdict import Verdict
from llmvault.policy.sources import MilvusSource
from llmvault.sources.interface import Source
from llmvault.sources.registry import build_source
from tests.contract.bad_input import AwkwardPointsContract, BadInputContract
from tests.contract.records import RECORDS, RecordsContract, flip_a_vector
from tests.contract.source import (
    OpensContract,
    SourceContract,
    SourceExample,
    capture_into,
    local_ports,
    through_json,
)
from tests.fakes import stores
from tests.servers import milvus_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("milvus") / "live.db"
    stores.fill_milvus(path)
    return path


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("milvus-server") / "live.db"
    stores.fill_milvus(path)
    with milvus_server(path) as address:
        yield address


class TestMilvusLite(SourceContract, OpensContract, BadInputContract):
    @pytest.fixture
    def example(self, database: Path) -> SourceExample:
        config = MilvusSource(kind="milvus", path=database, collections=("notes",))
        return SourceExample(
            build_source("vectors", config, local_ports()),
            files=frozenset({"aliases.json", "collections/passages/schema.json"}),
            collections=frozenset({"passages", "notes"}),
            directory=database,
        )

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        config = MilvusSource(kind="milvus", path=tmp_path / "nowhere.db")
        return build_source("vectors", config, local_ports())

    def damage(self, restored: Path) -> None:
        shutil.rmtree(restored / "collections" / "passages" / "partitions")


class TestMilvusServer(OpensContract, RecordsContract, AwkwardPointsContract):
    """Records of a server, by Milvus's protocol; what needs none is the directory's above."""

    @pytest.fixture
    def example(self, url: str) -> SourceExample:
        return SourceExample(
            build_source("vectors", MilvusSource(kind="milvus", url=url), local_ports()),
            files=RECORDS | {"passages/000000.parquet", "notes/collection.json"},
            collections=frozenset({"passages", "notes"}),
        )

    def test_what_was_captured_checks_out_and_damage_is_found(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        restored = tmp_path / "restored"
        recorded, _ = capture_into(example.source, restored, tmp_path)
        assert all((restored / path).is_file() for path in example.files)
        checks = example.source.check(restored, through_json(recorded))
        assert {check.verdict for check in checks} == {Verdict.PROVEN}
        flip_a_vector(restored / "passages")
        checks = example.source.check(restored, through_json(recorded))
        assert Verdict.FAILED in {check.verdict for check in checks}
