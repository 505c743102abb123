"""Qdrant: clusters, bad servers, refused targets, other stores' points, and nothing left behind."""

from __future__ import annotations

import errno
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.verdict import Verdict, combine
from llmvault.policy.sources import QdrantSource
from llmvault.sources.interface import (
    ImportsRecords,
    Observation,
    Point,
    RecordSet,
    Source,
    SourcePorts,
    VectorField,
)
from llmvault.sources.qdrant import QdrantStore
from llmvault.sources.qdrant.importing import QdrantImporter
from llmvault.sources.records.export import export
from llmvault.sources.records.load import compare_with_capture, import_capture
from llmvault.sources.records.reading import read_capture
from llmvault.sources.registry import build_source
from llmvault.sources.stores import settled
from tests.contract.source import capture_into, local_ports
from tests.fakes import stores
from tests.fakes.qdrant_server import FakeQdrant, fake_qdrant
from tests.fakes.record_store import RecordStore, packed

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def qdrant(ports: SourcePorts | None = None, **declared: object) -> QdrantStore:
    config = QdrantSource.model_validate({"kind": "qdrant", **declared})
    return QdrantStore("vectors", config, ports or local_ports())


def captured(source: Source, tmp_path: Path) -> tuple[Path, Observation]:
    observation, _ = capture_into(source, tmp_path / "restored", tmp_path)
    return tmp_path / "restored", observation


def grave(observation: Observation) -> dict[str, str]:
    return {one.name: one.severity for one in observation.findings if one.severity != "warning"}


def verdicts(source: QdrantStore, restored: Path, recorded: Observation) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in source.check(restored, recorded)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeQdrant]:
    with fake_qdrant(tmp_path / "server") as node:
        node.create("passages", {"vectors": {"size": 4, "distance": "Euclid"}})
        node.put("passages", stores.qdrant_points())
        yield node


@pytest.fixture
def live(tmp_path: Path) -> Path:
    stores.fill_qdrant(tmp_path / "live")
    return tmp_path / "live"


# ---- servers ------------------------------------------------------------------------------------


def test_every_node_is_snapshotted_and_comes_back_on_as_many(tmp_path: Path) -> None:
    with (
        fake_qdrant(tmp_path / "cluster", nodes=2) as cluster,
        fake_qdrant(tmp_path / "fresh", nodes=2) as fresh,
    ):
        cluster.create("passages", {"vectors": {"size": 4, "distance": "Euclid"}})
        cluster.put("passages", stores.qdrant_points())
        cluster.aliases["current"] = "passages"
        source = qdrant(url=cluster.urls[0], nodes=cluster.urls[1:])
        restored, recorded = captured(source, tmp_path)
        assert not cluster.snapshots
        assert {path.name for path in restored.glob("collections/passages/*")} == {
            "0.snapshot",
            "1.snapshot",
        }
        assert combine(verdicts(source, restored, recorded).values()) is Verdict.PROVEN
        (tmp_path / "scratch").mkdir()
        with source.open_restored(restored, tmp_path / "scratch") as opened:
            assert opened.describe() == recorded.collections
            assert opened.search("passages", stores.vector(9), 2) == ("9", "8")  # equal: by id
        assert not list((tmp_path / "scratch").iterdir())
        with pytest.raises(RefusedError, match="1 nodes are named"):
            source.load(restored, fresh.urls[0])
        assert source.load(restored, ",".join(fresh.urls)) == recorded.collections
        assert fresh.aliases == {"current": "passages"}
        assert all("priority=snapshot" in one for one in fresh.requests if "upload" in one)
        with pytest.raises(RefusedError, match="already has a collection"):
            source.load(restored, ",".join(fresh.urls))
        with pytest.raises(RefusedError, match="live store"):
            source.load(restored, ",".join(cluster.urls))


def test_shards_on_nodes_that_the_policy_does_not_name_are_missed(tmp_path: Path) -> None:
    with fake_qdrant(tmp_path / "cluster", nodes=2) as cluster:
        cluster.create("passages", {"vectors": {"size": 4, "distance": "Euclid"}})
        cluster.put("passages", stores.qdrant_points())
        _, recorded = captured(qdrant(url=cluster.urls[0]), tmp_path)
        assert grave(recorded) == {"shards-missing": "failed"}
        assert "nodes-not-named" in {one.name for one in recorded.findings}


@pytest.mark.parametrize("version", ["1.9.2", "2.0.0", "strange"])
def test_a_version_that_is_not_known_is_unavailable(server: FakeQdrant, version: str) -> None:
    server.version = version
    with pytest.raises(UnavailableError):
        qdrant(url=server.urls[0]).observe()


def test_snapshots_are_not_loaded_into_another_version(server: FakeQdrant, tmp_path: Path) -> None:
    source = qdrant(url=server.urls[0])
    restored, _ = captured(source, tmp_path)
    with fake_qdrant(tmp_path / "fresh", version="1.20.1") as fresh:
        with pytest.raises(RefusedError, match="same minor version"):
            source.load(restored, fresh.urls[0])
        assert not fresh.collections


def test_a_wrong_key_and_credentials_in_the_url_are_told_without_them(server: FakeQdrant) -> None:
    server.api_key = "right"
    ports = local_ports({"KEY": "wrong one"})
    with pytest.raises(UnavailableError, match="refuses access") as refused:
        qdrant(ports, url=server.urls[0], token="env:KEY").observe()
    assert "wrong one" not in refused.value.diagnostics()
    with pytest.raises(PolicyError) as told:
        qdrant(url="http://user:secret@127.0.0.1:1")
    assert "secret" not in told.value.diagnostics()


def test_a_collection_that_the_policy_names_is_missed(server: FakeQdrant) -> None:
    found = qdrant(url=server.urls[0], collections=["users"]).observe()
    assert grave(found) == {"collection-missing": "failed"}


@pytest.mark.parametrize("answer", [(0, None), (500, {"status": {"error": "No space left"}})])
def test_a_download_that_fails_leaves_no_snapshot_on_the_server(
    server: FakeQdrant, tmp_path: Path, answer: tuple[int, Any]
) -> None:
    def bad(method: str, target: str) -> tuple[int, Any] | None:
        return answer if method == "GET" and target.endswith(".snapshot") else None

    server.hook = bad
    with pytest.raises(UnavailableError):
        captured(qdrant(url=server.urls[0]), tmp_path)
    assert not server.snapshots


def test_bytes_that_are_not_what_the_server_stated_are_refused(
    server: FakeQdrant, tmp_path: Path
) -> None:
    def altered(method: str, target: str) -> tuple[int, Any] | None:
        if method != "GET" or not target.endswith(".snapshot"):
            return None
        content = bytearray(next(iter(server.snapshots.values())))
        content[600] ^= 1
        return 200, bytes(content)

    server.hook = altered
    with pytest.raises(IntegrityError, match="SHA-256"):
        captured(qdrant(url=server.urls[0]), tmp_path)
    assert not server.snapshots


def test_a_full_disk_is_told_and_leaves_no_snapshot_on_the_server(
    server: FakeQdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", full_disk(Path.open))
    with pytest.raises(UnavailableError, match="No space left"):
        captured(qdrant(url=server.urls[0]), tmp_path)
    assert not server.snapshots


def full_disk(real: Callable[..., IO[Any]]) -> Callable[..., IO[Any]]:
    def opened(path: Path, mode: str = "r", *more: object, **named: object) -> IO[Any]:
        if path.suffix == ".snapshot" and "x" in mode:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, mode, *more, **named)

    return opened


def test_the_snapshot_of_a_killed_run_is_removed_by_the_next(
    server: FakeQdrant, tmp_path: Path
) -> None:
    keep = tmp_path / "keep"
    ports = local_ports()
    ports = SourcePorts(ports.runner, ports.secrets, ports.clock, keep)
    program = f"""
import os, signal
from pathlib import Path
from llmvault.sources.qdrant.server import open_server
from llmvault.sources.qdrant.snapshots import Journal
with open_server({server.urls[0]!r}, None) as server:
    with Journal(Path({str(keep / "vectors.snapshots.json")!r})).temporary(server, "passages"):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert len(server.snapshots) == 1
    source = qdrant(ports, url=server.urls[0])
    _, recorded = captured(source, tmp_path)
    assert not grave(recorded)
    assert not server.snapshots
    assert not list(keep.glob("*.json"))


def test_a_snapshot_that_may_be_of_a_killed_run_is_told(server: FakeQdrant, tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    entry = {"url": server.urls[0], "collection": "passages", "before": []}
    (keep / "vectors.snapshots.json").write_text(json.dumps(entry))
    server.answer(0, "POST", "/collections/passages/snapshots", b"")
    ports = local_ports()
    ports = SourcePorts(ports.runner, ports.secrets, ports.clock, keep)
    _, recorded = captured(qdrant(ports, url=server.urls[0]), tmp_path)
    assert [one.name for one in recorded.findings] == ["snapshot-left"]
    assert len(server.snapshots) == 1  # not known to be ours


def test_a_snapshot_that_looks_complete_and_is_empty_fails(
    server: FakeQdrant, tmp_path: Path
) -> None:
    collection = server.collections["passages"]
    node, shard = collection.shards.pop(0)
    server.answer(0, "POST", "/collections/passages/snapshots", b"")  # without any shard
    server.snapshots.clear()
    collection.shards[0] = (node, shard)
    source = qdrant(url=server.urls[0])
    restored, recorded = captured(source, tmp_path)
    assert grave(recorded) == {"snapshot-empty": "failed"}
    assert verdicts(source, restored, recorded)["collections"] is Verdict.FAILED


def test_what_was_written_meanwhile_is_described_from_the_copy(
    server: FakeQdrant, tmp_path: Path
) -> None:
    def busy(method: str, target: str) -> tuple[int, Any] | None:
        if method == "DELETE" and "snapshots" in target:
            server.hook = None
            server.put("passages", [{"id": 999, "vector": [1, 2, 3, 4], "payload": {}}])
        return None

    server.hook = busy
    source = qdrant(url=server.urls[0])
    restored, recorded = captured(source, tmp_path)
    assert not grave(recorded)
    assert [facts.count for facts in recorded.collections] == [stores.COUNT]
    (tmp_path / "scratch").mkdir()
    with source.open_restored(restored, tmp_path / "scratch") as opened:
        assert opened.describe() == recorded.collections


def test_a_snapshot_of_other_settings_fails(server: FakeQdrant, tmp_path: Path) -> None:
    source = qdrant(url=server.urls[0])
    restored, recorded = captured(source, tmp_path)
    server.collections["passages"].config["hnsw_config"]["m"] = 32
    server.collections["passages"].archives.clear()
    other, _ = capture_into(source, tmp_path / "other", tmp_path)
    assert verdicts(source, tmp_path / "other", recorded)["settings"] is Verdict.FAILED
    assert verdicts(source, restored, recorded)["settings"] is Verdict.PROVEN
    assert other.collections[0].settings != recorded.collections[0].settings


def test_a_load_that_fails_leaves_nothing(server: FakeQdrant, tmp_path: Path) -> None:
    source = qdrant(url=server.urls[0])
    server.aliases["current"] = "passages"
    restored, _ = captured(source, tmp_path)
    with fake_qdrant(tmp_path / "fresh") as fresh:

        def bad(method: str, target: str) -> tuple[int, Any] | None:
            return (500, {}) if target == "/collections/aliases" else None

        fresh.hook = bad
        with pytest.raises(UnavailableError):
            source.load(restored, fresh.urls[0])
        assert not fresh.collections


# ---- shards -------------------------------------------------------------------------------------


def test_a_shard_that_its_program_has_open_is_captured(live: Path, tmp_path: Path) -> None:
    import qdrant_edge as edge

    shard = edge.EdgeShard.load(str(live / "passages"))
    try:
        point = edge.Point(1000, [1.0, 2.0, 3.0, 4.0], {"n": 1000})
        shard.update(edge.UpdateOperation.upsert_points([point]))
        source = qdrant(path=live)
        restored, recorded = captured(source, tmp_path)
        assert not grave(recorded)
        counts = {facts.name: facts.count for facts in recorded.collections}
        assert counts == {"passages": stores.COUNT + 1, "notes": 1}
        assert combine(verdicts(source, restored, recorded).values()) is Verdict.PROVEN
    finally:
        shard.close()


def test_shards_that_never_rest_are_unproven(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter(range(10_000))
    monkeypatch.setattr(settled, "state_of", lambda root: {"file": (next(states), 0, 0, 0)})
    monkeypatch.setattr(settled, "_PAUSE_SECONDS", 0.0)
    _, recorded = captured(qdrant(path=live), tmp_path)
    assert grave(recorded) == {"changed-during-copy": "unproven"}
    with pytest.raises(UnavailableError, match="all the time"), qdrant(path=live).open_live():
        pass


def test_shards_are_loaded_into_a_new_directory_only(live: Path, tmp_path: Path) -> None:
    source = qdrant(path=live)
    restored, recorded = captured(source, tmp_path)
    assert source.load(restored, str(tmp_path / "new")) == recorded.collections
    for refused in (tmp_path / "new", live, live / "inner"):
        with pytest.raises(RefusedError):
            source.load(restored, str(refused))
    with pytest.raises(RefusedError, match="cannot be loaded there"):
        source.load(restored, "http://127.0.0.1:1")


def test_one_shard_alone_is_a_collection_and_an_empty_place_is_never_green(
    live: Path, tmp_path: Path
) -> None:
    with qdrant(path=live / "passages").open_live() as opened:
        assert [facts.name for facts in opened.describe()] == ["passages"]
    (tmp_path / "empty").mkdir()
    assert grave(qdrant(path=tmp_path / "empty").observe()) == {"no-collections": "unproven"}
    with pytest.raises(PolicyError):
        qdrant()
    with pytest.raises(PolicyError):
        qdrant(path=live, url="http://127.0.0.1:1")


def test_nan_and_large_payloads_are_captured_and_told(live: Path, tmp_path: Path) -> None:
    import qdrant_edge as edge

    shard = edge.EdgeShard.load(str(live / "passages"))
    large = {"text": "é" * (8 << 20)}
    points = [edge.Point(2000, [math.nan] * 4, {}), edge.Point(2001, [1.0, 2, 3, 4], large)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    source = qdrant(path=live)
    restored, recorded = captured(source, tmp_path)
    assert grave(recorded) == {"vector-not-finite": "unproven"}
    assert verdicts(source, restored, recorded)["vector-not-finite"] is Verdict.UNPROVEN
    records = build_source(
        "vectors", QdrantSource(kind="qdrant", path=live, capture="records"), local_ports()
    )
    observed, _ = capture_into(records, tmp_path / "records", tmp_path)
    assert grave(observed) == {"vectors-not-finite": "failed"}
    (passages,) = [one for one in read_capture(tmp_path / "records") if one.name == "passages"]
    assert {point.id: point.payload for point in passages.points()}["2001"] == large


def test_a_lost_or_damaged_file_is_found(live: Path, tmp_path: Path) -> None:
    source = qdrant(path=live)
    restored, recorded = captured(source, tmp_path)
    segment = next((restored / "passages" / "segments").iterdir())
    (segment / "segment.json").write_text("{")
    assert verdicts(source, restored, recorded)["cannot-open"] is Verdict.FAILED
    shutil.rmtree(restored / "passages")
    assert verdicts(source, restored, recorded)["collections"] is Verdict.FAILED


# ---- records ------------------------------------------------------------------------------------


def foreign(root: Path) -> list[Any]:
    """Write a capture of another kind of store with everything that Qdrant keeps differently."""
    view = RecordStore()
    field = VectorField("", 3, "cosine", {"kind": "hnsw", "m": 8, "ef_construction": 50})
    view.sets["passages"] = RecordSet("passages", "fake", vectors=(field,))
    view.held["passages"] = {}
    payload = {"author": "a", "bytes": b"\xff\x00", "odd": math.inf, "text": "\ud800", "none": None}
    view.put(
        "passages",
        Point("p-1", {"": packed(3, 4, 0)}, payload, document="passage 1"),
        Point("7", {"": packed(0, 0.6, 0.8)}, {"document": "taken"}, document="passage 7"),
        Point("6F9619FF-8B86-D011-B42D-00C04FC964FF", {"": packed(1, 1, 1)}),
        Point("no vector", {}, {"n": 1}),
    )
    root.mkdir()
    export(view, root, kind="fake", sample=16)
    return list(read_capture(root))


@contextmanager
def opened_target(importer: ImportsRecords, address: Path | str) -> Iterator[Any]:
    with importer.target(str(address)) as target:
        yield target


@pytest.mark.parametrize("where", ["directory", "server"])
def test_points_of_another_store_keep_their_ids_and_content(tmp_path: Path, where: str) -> None:
    collections = foreign(tmp_path / "capture")
    importer = QdrantImporter(local_ports())
    with fake_qdrant(tmp_path / "server") as node:
        address = node.urls[0] if where == "server" else tmp_path / "new"
        with opened_target(importer, address) as target:
            imported = import_capture(target, collections)
            checks = compare_with_capture("x", target, imported, collections, Observation())
            assert {check.verdict for check in checks} == {Verdict.PROVEN}, checks
            assert target.search("passages", (3.0, 4.0, 0.1), 1) == ("p-1",)
            kept = {point.id: point for point in target.points("passages")}
        assert kept["7"].payload == {"document": "taken", "llmvault_document": "passage 7"}
        assert kept["p-1"].payload["document"] == "passage 1"
        source = qdrant(url=address) if where == "server" else qdrant(path=address)
        (tmp_path / "scratch").mkdir()
        with source.reading_records(tmp_path / "scratch") as view:
            assert {point.id: point for point in view.points("passages")} == kept
            (records,) = view.record_sets()
        assert records.id_type == "text"
        assert records.vectors[0].index["m"] == 8
        with pytest.raises(RefusedError), opened_target(importer, address) as target:
            import_capture(target, collections)


def test_an_index_that_qdrant_does_not_have_becomes_one_that_it_has(tmp_path: Path) -> None:
    fields = (
        VectorField("a", 2, "l2", {"kind": "ivfflat", "lists": 4}),
        VectorField("b", 2, "l2", {"kind": "flat"}),
    )
    view = RecordStore()
    view.sets["x"] = RecordSet("x", "fake", vectors=fields)
    view.held["x"] = {"1": Point("1", {"a": packed(1, 2), "b": packed(3, 4)})}
    (tmp_path / "capture").mkdir()
    export(view, tmp_path / "capture", kind="fake", sample=1)
    collections = list(read_capture(tmp_path / "capture"))
    with QdrantImporter(local_ports()).target(str(tmp_path / "new")) as target:
        imported = import_capture(target, collections)
        checks = compare_with_capture("x", target, imported, collections, Observation())
        assert {check.verdict for check in checks} == {Verdict.PROVEN}, checks
        kinds = {field.name: field.index["kind"] for field in target.record_sets()[0].vectors}
    assert kinds == {"a": "hnsw", "b": "flat"}


def test_a_point_of_another_dimension_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    target_directory = tmp_path / "new"
    wanted = RecordSet("passages", "fake", vectors=(VectorField("", 3, "l2"),))
    odd = [Point("1", {"": packed(1, 2)})]
    with (
        pytest.raises(IntegrityError, match="2 values"),
        QdrantImporter(local_ports()).target(str(target_directory)) as target,
    ):
        target.add(target.create(wanted), iter(odd))
    assert not target_directory.exists()


def test_what_qdrant_cannot_hold_is_told(tmp_path: Path) -> None:
    with QdrantImporter(local_ports()).target(str(tmp_path / "new")) as target:
        for field in (VectorField("", None), VectorField("", 3, "hamming")):
            with pytest.raises(VaultError):
                target.create(RecordSet("x", "fake", vectors=(field,)))
        assert target.record_sets() == ()
