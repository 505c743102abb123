"""Milvus: bad input, refused targets, other stores' points, and nothing left behind."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError, UnavailableError
from llmvault.core.verdict import Verdict, combine
from llmvault.policy.sources import MilvusSource
from llmvault.sources.interface import Observation, Point, RecordSet, Source, VectorField
from llmvault.sources.milvus.importing import MilvusImporter
from llmvault.sources.records.export import export
from llmvault.sources.records.load import compare_with_capture, import_capture
from llmvault.sources.records.reading import CapturedCollection, read_capture
from llmvault.sources.registry import build_source
from llmvault.sources.stores import settled
from tests.contract.source import capture_into, local_ports
from tests.fakes import stores
from tests.fakes.record_store import RecordStore, packed
from tests.servers import free_port, milvus_server

pytestmark = pytest.mark.integration


def milvus(**declared: object) -> Source:
    config = MilvusSource.model_validate({"kind": "milvus", **declared})
    return build_source("vectors", config, local_ports())


def captured(source: Source, tmp_path: Path) -> tuple[Path, Observation]:
    observation, _ = capture_into(source, tmp_path / "restored", tmp_path)
    return tmp_path / "restored", observation


def grave(observation: Observation) -> dict[str, str]:
    return {one.name: one.severity for one in observation.findings if one.severity != "warning"}


def verdicts(source: Source, restored: Path, recorded: Observation) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in source.check(restored, recorded)}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("milvus") / "live.db"
    stores.fill_milvus(path)
    return path


@pytest.fixture
def live(filled: Path, tmp_path: Path) -> Path:
    path = tmp_path / "live" / "live.db"
    shutil.copytree(filled, path)
    return path


def written(path: Path, program: str) -> None:
    """Change a database by a program that has `client`."""
    head = f"from pymilvus import MilvusClient\nclient = MilvusClient({str(path)!r})\n"
    stores.run_apart(f"{head}client.load_collection('passages')\n{program}\nclient.close()\n")


def test_a_database_that_its_program_has_open_is_captured(live: Path, tmp_path: Path) -> None:
    with milvus_server(live):
        source = milvus(path=live)
        restored, recorded = captured(source, tmp_path)
        assert not grave(recorded)
        counts = {facts.name: facts.count for facts in recorded.collections}
        assert counts == {"passages": stores.COUNT, "notes": 2}
        assert combine(verdicts(source, restored, recorded).values()) is Verdict.PROVEN


def test_a_database_that_never_rests_is_unproven(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter(range(10_000))
    monkeypatch.setattr(settled, "state_of", lambda root: {"file": (next(states), 0, 0, 0)})
    monkeypatch.setattr(settled, "_PAUSE_SECONDS", 0.0)
    _, recorded = captured(milvus(path=live), tmp_path)
    assert grave(recorded) == {"changed-during-copy": "unproven"}


def test_a_directory_is_loaded_into_a_new_one_only(live: Path, tmp_path: Path) -> None:
    from llmvault.sources.milvus import MilvusStore

    source = milvus(path=live)
    assert isinstance(source, MilvusStore)
    restored, recorded = captured(source, tmp_path)
    assert source.load(restored, str(tmp_path / "new.db")) == recorded.collections
    for refused in ("new.db", "live/live.db", "live/live.db/in.db", "new"):
        with pytest.raises(RefusedError):
            source.load(restored, str(tmp_path / refused))
    with pytest.raises(RefusedError, match="cannot be loaded into a server"):
        source.load(restored, "http://127.0.0.1:1")


def test_what_is_missing_empty_or_of_an_older_kind_is_told(live: Path, tmp_path: Path) -> None:
    assert grave(milvus(path=live, collections=["users"]).observe()) == {
        "collection-missing": "failed"
    }
    (tmp_path / "empty.db").mkdir()
    assert grave(milvus(path=tmp_path / "empty.db").observe()) == {"no-collections": "unproven"}
    (tmp_path / "file.db").touch()
    with pytest.raises(UnavailableError, match="milvus-lite 2"):
        milvus(path=tmp_path / "file.db").observe()


def test_policies_that_cannot_be_are_told(live: Path) -> None:
    for declared in ({}, {"path": live, "url": "http://127.0.0.1:1"}):
        with pytest.raises(PolicyError):
            milvus(**declared)
    with pytest.raises(PolicyError, match="only its records"):
        milvus(url="http://127.0.0.1:1", capture="native")
    with pytest.raises(PolicyError) as told:
        milvus(url="http://user:secret@127.0.0.1:1")
    assert "secret" not in told.value.diagnostics()


def test_a_server_that_is_down_is_unavailable_and_the_token_is_not_told(tmp_path: Path) -> None:
    config = MilvusSource.model_validate(
        {"kind": "milvus", "url": f"http://127.0.0.1:{free_port()}", "token": "env:TOKEN"}
    )
    source = build_source("vectors", config, local_ports({"TOKEN": "user:secret of it"}))
    with pytest.raises(UnavailableError) as told:
        source.observe()
    assert "secret of it" not in told.value.diagnostics()


def test_nan_and_a_value_of_16_mib_are_captured_and_told(live: Path, tmp_path: Path) -> None:
    written(
        live,
        """
row = {"id": "q1", "vector": [float("nan")] * 4, "page": 1}
client.insert("passages", [row, {**row, "id": "q2", "vector": [1, 2, 3, 4], "t": "x" * (16 << 20)}])
""",
    )
    source = milvus(path=live)
    restored, recorded = captured(source, tmp_path)
    assert grave(recorded) == {"vector-not-finite": "unproven"}
    assert verdicts(source, restored, recorded)["vector-not-finite"] is Verdict.UNPROVEN
    records = milvus(path=live, capture="records")
    observed, _ = capture_into(records, tmp_path / "records", tmp_path)
    assert grave(observed) == {"vectors-not-finite": "failed"}
    (passages,) = [one for one in read_capture(tmp_path / "records") if one.name == "passages"]
    assert len({one.id: one.payload for one in passages.points()}["q2"]["t"]) == 16 << 20


def test_damage_and_another_schema_are_found(live: Path, tmp_path: Path) -> None:
    source = milvus(path=live)
    restored, recorded = captured(source, tmp_path)
    written(live, 'client.drop_alias("current")')
    other, _ = capture_into(source, tmp_path / "other", tmp_path)
    assert verdicts(source, tmp_path / "other", recorded)["settings"] is Verdict.FAILED
    assert not grave(other)
    (restored / "collections" / "passages" / "manifest.json").write_text("{")
    (restored / "collections" / "passages" / "manifest.json.prev").unlink()
    assert Verdict.FAILED in verdicts(source, restored, recorded).values()


def foreign(root: Path, *points: Point, distance: str = "cosine") -> list[CapturedCollection]:
    """Write a capture of another kind of store."""
    view = RecordStore()
    field = VectorField("", 3, distance, {"kind": "hnsw", "m": 8, "ef_construction": 50})
    view.sets["my passages"] = RecordSet("my passages", "fake", vectors=(field,))
    view.held["my passages"] = {}
    view.put("my passages", *points)
    root.mkdir()
    export(view, root, kind="fake", sample=16)
    return list(read_capture(root))


@pytest.mark.parametrize("where", ["directory", "server"])
def test_points_of_another_store_keep_their_ids_and_content(tmp_path: Path, where: str) -> None:
    payload = {"author": "a", "bytes": b"\xff\x00", "odd": math.inf, "text": "\ud800", "id": "own"}
    collections = foreign(
        tmp_path / "capture",
        Point("p-1", {"": packed(3, 4, 0)}, payload, document="passage 1"),
        Point("7", {"": packed(0, 0.6, 0.8)}, {"document": "taken"}, document="passage 7"),
    )
    (tmp_path / "server.db").mkdir()
    with milvus_server(tmp_path / "server.db") as url:
        address = url if where == "server" else str(tmp_path / "new.db")
        importer = MilvusImporter(local_ports())
        with importer.target(address) as target:
            imported = import_capture(target, collections)
            checks = compare_with_capture("x", target, imported, collections, Observation())
            assert {check.verdict for check in checks} == {Verdict.PROVEN}, checks
            assert target.search("my_passages", (3.0, 4.0, 0.1), 1) == ("p-1",)
            kept = {point.id: point for point in target.points("my_passages")}
        assert kept["7"].payload == {"document": "taken", "llmvault_document": "passage 7"}
        assert kept["p-1"].vectors == {"vector": packed(3, 4, 0)}
        if where == "server":
            with pytest.raises(RefusedError), importer.target(address) as target:
                import_capture(target, collections)
            with importer.target(address) as target:
                assert [one.name for one in target.record_sets()] == ["my_passages"]


@pytest.mark.parametrize("vectors", [{"": packed(1, 2)}, {}], ids=["dimension", "none"])
def test_a_point_that_does_not_fit_is_refused_and_nothing_stays(
    tmp_path: Path, vectors: dict[str, bytes]
) -> None:
    wanted = RecordSet("passages", "fake", vectors=(VectorField("", 3, "l2"),))
    with (
        pytest.raises(IntegrityError),
        MilvusImporter(local_ports()).target(str(tmp_path / "new.db")) as target,
    ):
        target.add(target.create(wanted), iter([Point("1", vectors)]))
    assert not (tmp_path / "new.db").exists()
