"""One kind of store made of another's records, on the real engines of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from llmvault.core.verdict import Verdict
from llmvault.policy.sources import (
    ChromaSource,
    FaissSource,
    MilvusSource,
    PostgresSource,
    QdrantSource,
)
from llmvault.policy.sources import Source as SourceConfig
from llmvault.sources.interface import Observation, RecordSet
from llmvault.sources.records.load import compare_with_capture, import_capture
from llmvault.sources.records.reading import read_capture
from llmvault.sources.registry import build_importer, build_source
from tests.contract.source import capture_into, local_ports
from tests.contract.test_store_sources import fill_chroma
from tests.fakes import stores
from tests.servers import PostgresServer, postgres_server

pytestmark = pytest.mark.integration

PAIRS = (
    ("chroma", "qdrant"),
    ("postgres", "qdrant"),
    ("qdrant", "chroma"),
    ("qdrant", "postgres"),
    ("chroma", "milvus"),
    ("postgres", "milvus"),
    ("milvus", "chroma"),
    ("milvus", "postgres"),
    ("milvus", "qdrant"),
    ("qdrant", "milvus"),
    ("faiss", "postgres"),
    ("faiss", "qdrant"),
    ("qdrant", "faiss"),
)
NEAREST = {  # a vector of the store, and the id of its nearest point
    "chroma": ((101.0, 2.0, 1.0, 0.5), "p100"),
    "postgres": ((100.0, 2.0, 1.0, 0.5), "100"),
    "qdrant": (stores.vector(9), "9"),
    "milvus": (stores.vector(9), stores.key(9)),
    "faiss": (stores.vector(9), stores.key(9)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def captures(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Observation]]:
    """A records capture of a live store of every kind."""
    home = tmp_path_factory.mktemp("live")
    fill_chroma(home / "chroma")
    stores.fill_qdrant(home / "qdrant")
    stores.fill_milvus(home / "milvus.db")
    stores.fill_faiss(home / "faiss")
    (home / "faiss" / "flat.faiss").rename(home / "faiss" / "passages")
    url = server.create("live")
    with server.connect("live") as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE passages (id int PRIMARY KEY, t text, v vector(4))")
        connection.execute(
            "INSERT INTO passages SELECT i, 'passage ' || i, "
            "ARRAY[i, i % 7, i % 11, 0.5]::vector FROM generate_series(1, 200) AS i"
        )
        connection.execute("CREATE INDEX ON passages USING ivfflat (v vector_l2_ops)")
    declared: dict[str, SourceConfig] = {
        "chroma": ChromaSource(kind="chroma", path=home / "chroma", capture="records"),
        "qdrant": QdrantSource(kind="qdrant", path=home / "qdrant", capture="records"),
        "milvus": MilvusSource(kind="milvus", path=home / "milvus.db", capture="records"),
        "faiss": FaissSource(
            kind="faiss", path=home / "faiss", capture="records", indexes=("passages",),
            id_maps={"passages": "ids.json"}, docstores={"passages": "docstore.json"},
        ),
        "postgres": PostgresSource.model_validate(
            {"kind": "postgres", "url": url, "password": "env:PASSWORD", "capture": "records",
             "binaries": server.programs}
        ),
    }  # fmt: skip
    found = {}
    for kind, config in declared.items():
        ports = local_ports({"PATH": "/usr/bin:/bin", "PASSWORD": server.password})
        place = home / f"{kind}-captured"
        place.mkdir()
        recorded, _ = capture_into(build_source(kind, config, ports), place / "restored", place)
        found[kind] = (place / "restored", recorded)
    return found


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_records_of_one_store_become_another(
    captures: dict[str, tuple[Path, Observation]],
    server: PostgresServer,
    tmp_path: Path,
    one: str,
    other: str,
) -> None:
    restored, recorded = captures[one]
    collections = [each for each in read_capture(restored) if each.name == "passages"]
    address = str(tmp_path / "new.db")
    if other == "postgres":
        address = server.create(f"from_{one}")
        address = address.replace("postgres@", f"postgres:{quote(server.password)}@")
    with build_importer(other, local_ports()).target(address) as target:
        imported = import_capture(target, collections)
        checks = compare_with_capture("x", target, imported, collections, recorded)
        assert {check.verdict for check in checks} == {Verdict.PROVEN}, checks
        vector, nearest = NEAREST[one]
        name = imported.names["passages"]
        searched = (
            name
            if other != "postgres"
            else f"{name}.{_column(target.record_sets()[0])}".rstrip(".")
        )
        assert target.search(searched, vector, 1) == (nearest,)


def _column(records: RecordSet) -> str:
    (field,) = records.vectors
    return field.name
