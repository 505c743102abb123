"""Chroma, for real: a directory under a busy writer, running servers, and bad input."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    VaultError,
)
from llmvault.core.secrets import SecretRef, parse_secret_ref
from llmvault.core.verdict import Verdict, combine
from llmvault.policy.sources import ChromaSource
from llmvault.sources.chroma import ChromaStore
from llmvault.sources.chroma.client import open_directory
from llmvault.sources.chroma.directory import DirectoryCopy, copy_store
from llmvault.sources.chroma.layout import DATABASE, ID_MAP, read_layout, reading
from llmvault.sources.chroma.opened import OpenChroma
from llmvault.sources.interface import Observation, SourcePorts, TreeCapture
from llmvault.sources.registry import build_source
from tests.contract.source import copy_capture, local_ports
from tests.fakes.stepping_clock import SteppingClock
from tests.integration import chroma_writer
from tests.servers import chroma_server, http_server, proxied

if TYPE_CHECKING:
    from chromadb.api.client import Client

pytestmark = pytest.mark.integration

COPIES_UNDER_WRITER = 8


def chroma_client(path: Path) -> Client:
    import chromadb
    from chromadb.config import Settings

    settings = Settings(_env_file=None, anonymized_telemetry=False)
    return cast("Client", chromadb.PersistentClient(str(path), settings=settings))


def fill(path: Path, *, count: int = 60, name: str = "docs", threshold: int = 20) -> Path:
    """Make a store whose one collection was saved to index files and has a tail in the log."""
    with chroma_client(path) as client:
        docs = client.create_collection(
            name,
            configuration={"hnsw": {"sync_threshold": threshold, "batch_size": 10}},
            embedding_function=None,
        )
        for start in range(0, count, 25):
            part = range(start, min(start + 25, count))
            docs.add(
                ids=[f"d{index:03}" for index in part],
                embeddings=[chroma_writer.vector_of(f"d{index:03}", 1) for index in part],
                documents=[f"document {index}" for index in part],
                metadatas=[{"page": index} for index in part],
            )
    return path


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return fill(tmp_path / "live")


def of_directory(path: Path, *, collections: tuple[str, ...] = ()) -> ChromaStore:
    config = ChromaSource(kind="chroma", path=path, collections=collections)
    return built(config, local_ports())


def built(config: ChromaSource, ports: SourcePorts) -> ChromaStore:
    source = build_source("vectors", config, ports)
    assert isinstance(source, ChromaStore)
    return source


def of_server(url: str, *, token: SecretRef | None = None) -> ChromaStore:
    ports = local_ports({"PATH": "/usr/bin:/bin", "CHROMA_TOKEN": "right-token"})
    return built(ChromaSource(kind="chroma", url=url, token=token), ports)


def capture(
    source: ChromaStore, tmp_path: Path, name: str = "restored"
) -> tuple[Path, Observation]:
    """Capture as a backup would; return the restored files and what was recorded."""
    staging = tmp_path / f"staging-{name}"
    staging.mkdir(mode=0o700)
    with source.capture(staging) as captured:
        assert isinstance(captured, TreeCapture)
        assert captured.observation is not None
        copy_capture(captured, tmp_path / name)
        return tmp_path / name, captured.observation


def copy(store: Path, tmp_path: Path, name: str = "copy") -> tuple[Path, DirectoryCopy]:
    """Copy a directory as a capture does, without opening the copy."""
    target = tmp_path / name
    target.mkdir()
    return target, copy_store(store, target, SystemClock())


def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir(exist_ok=True)
    return path


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@contextmanager
def opened(path: Path) -> Iterator[OpenChroma]:
    with reading(path) as connection:
        databases = read_layout(connection).databases
    with open_directory(path, databases, sample=5) as store:
        yield store


# ---- a directory that is being written ----------------------------------------------------------


@contextmanager
def busy_writer(path: Path, seed: int) -> Iterator[Callable[[], int]]:
    """Run the writer process; yield a function that tells how many operations it has done."""
    argv = [sys.executable, chroma_writer.__file__, str(path), str(seed)]
    done: list[str] = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout
        assert output is not None
        reader = Thread(target=lambda: done.extend(iter(output.readline, "")))
        reader.start()
        try:
            while len(done) < 20:
                assert process.poll() is None
                time.sleep(0.05)
            yield lambda: len(done)
            assert process.poll() is None, "the writer did not survive"
        finally:
            process.kill()
            reader.join()


def assert_self_consistent(path: Path) -> int:
    """Open a store and compare everything in it with everything else; return its records."""
    total = 0
    with opened(path) as store:
        assert {facts.name for facts in store.describe()} <= set(chroma_writer.COLLECTIONS)
        for collection in store.collections():
            records = list(collection.records())
            ids = {record.id for record in records}
            assert collection.count() == len(records) == len(ids)
            for record in records:
                assert record.document is not None
                version = int(record.document.rpartition(":")[2])
                assert record.metadata == {"version": version}
                assert record.vector() == tuple(chroma_writer.vector_of(record.id, version))
            if records:
                name = collection.header.qualified_name
                nearest = store.search(name, records[0].vector(), len(records))
                assert nearest[0] == records[0].id
                assert len(set(nearest)) == len(nearest)
                assert set(nearest) <= ids
                assert len(nearest) >= 0.95 * len(ids)  # a graph index may not reach every record
            total += len(records)
    return total


def test_every_capture_of_a_directory_under_a_busy_writer_is_consistent(tmp_path: Path) -> None:
    live = tmp_path / "live"
    with busy_writer(live, seed=5) as operations:
        before = operations()
        for number in range(COPIES_UNDER_WRITER):
            target, made = copy(live, tmp_path, f"copy-{number}")
            assert not made.findings
            pending = any(collection.pending for collection in made.layout.collections)
            counted = sum(collection.count for collection in made.layout.collections)
            held = assert_self_consistent(target)
            assert pending or held == counted
        source = of_directory(live)
        restored, recorded = capture(source, tmp_path)
        assert not recorded.findings
        held = assert_self_consistent(restored)
        assert held == sum(facts.count for facts in recorded.collections)
        checks = source.check(restored, recorded)
        assert combine(check.verdict for check in checks) is not Verdict.FAILED, checks
        assert operations() > before + COPIES_UNDER_WRITER


def test_an_unchanged_directory_gives_the_same_bytes_and_times(live: Path, tmp_path: Path) -> None:
    long_ago = time.time() - 3600
    for path in live.rglob("*"):
        os.utime(path, (long_ago, long_ago))
    one, _ = copy(live, tmp_path, "one")
    two, _ = copy(live, tmp_path, "two")
    assert digests(one) == digests(two)
    for path in one.rglob("*"):
        assert path.stat().st_mtime == pytest.approx(long_ago)
        assert path.stat().st_mtime_ns == (two / path.relative_to(one)).stat().st_mtime_ns


def test_a_file_that_changed_just_now_keeps_the_time_of_its_copy(
    live: Path, tmp_path: Path
) -> None:
    os.utime(live / DATABASE)
    target, _ = copy(live, tmp_path)
    assert (target / DATABASE).stat().st_mtime_ns != (live / DATABASE).stat().st_mtime_ns


def test_modes_and_owners_are_kept(live: Path, tmp_path: Path) -> None:
    (live / DATABASE).chmod(0o640)
    if os.geteuid() == 0:
        os.chown(live / DATABASE, 12345, 12346)
    target, _ = copy(live, tmp_path)
    seen, wanted = (target / DATABASE).stat(), (live / DATABASE).stat()
    assert (seen.st_mode, seen.st_uid, seen.st_gid) == (
        wanted.st_mode,
        wanted.st_uid,
        wanted.st_gid,
    )


def test_a_capture_waits_for_a_save_to_end(live: Path, tmp_path: Path) -> None:
    id_map = next(live.glob(f"*/{ID_MAP}"))
    whole = id_map.read_bytes()
    os.utime(id_map.with_name("header.bin"))  # as in a save: the id map is older than the rest

    def end_the_save(_: float) -> None:
        id_map.write_bytes(whole if len(clock.slept) > 3 else whole[: len(whole) // 2])

    clock = SteppingClock(on_sleep=end_the_save)
    target = tmp_path / "copy"
    target.mkdir()
    assert not copy_store(live, target, clock).findings
    assert len(clock.slept) > 3
    assert (target / id_map.relative_to(live)).read_bytes() == whole


def test_a_save_that_never_ends_is_told(live: Path, tmp_path: Path) -> None:
    os.utime(next(live.glob("*/header.bin")))
    target = tmp_path / "copy"
    target.mkdir()
    copy = copy_store(live, target, SteppingClock())
    assert [(found.name, found.severity) for found in copy.findings] == [("index-torn", "unproven")]


def test_a_locked_store_is_unavailable(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmvault.sources.chroma.layout._BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(live / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            copy(live, tmp_path)
        other.execute("ROLLBACK")


def test_a_transaction_of_a_killed_writer_is_rolled_back(live: Path, tmp_path: Path) -> None:
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN')\n"
        "c.execute('DELETE FROM embeddings'); c.execute('DELETE FROM embedding_metadata')\n"
        "c.execute('CREATE TABLE big AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL '\n"
        "          'SELECT i + 1 FROM n WHERE i < 500) SELECT randomblob(2000) FROM n')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(live / DATABASE)], check=False)
    assert (live / f"{DATABASE}-journal").stat().st_size > 0
    source = of_directory(live)
    assert [found.name for found in source.observe().findings] == ["interrupted-transaction"]
    target, made = copy(live, tmp_path)
    assert [(facts.name, facts.count) for facts in made.layout.facts()] == [("docs", 60)]
    recorded = Observation(collections=made.layout.facts())
    assert combine(check.verdict for check in source.check(target, recorded)) is Verdict.PROVEN


# ---- what is told of a directory ----------------------------------------------------------------


def test_the_index_of_a_deleted_collection_is_left_out(live: Path, tmp_path: Path) -> None:
    with chroma_client(live) as client:
        client.delete_collection("docs")
        client.create_collection("other", embedding_function=None)
    orphan = next(live.glob(f"*/{ID_MAP}")).parent.name
    (live / "notes.txt").write_text("mine")
    observed = of_directory(live).observe()
    told = {(found.name, found.path): found.severity for found in observed.findings}
    assert told == {("index-orphaned", orphan): "warning", ("left-out", "notes.txt"): "warning"}
    target, _ = copy(live, tmp_path)
    assert sorted(path.name for path in target.iterdir()) == [DATABASE]


def test_a_collection_that_must_be_there_and_is_not_fails(live: Path) -> None:
    observation = of_directory(live, collections=("docs", "faq")).observe()
    assert [(found.name, found.path, found.severity) for found in observation.findings] == [
        ("collection-missing", "faq", "failed")
    ]


def test_an_empty_store_is_unproven(tmp_path: Path) -> None:
    with chroma_client(tmp_path / "live"):
        pass
    observed = of_directory(tmp_path / "live").observe()
    assert [(found.name, found.severity) for found in observed.findings] == [
        ("no-collections", "unproven")
    ]


def test_a_lost_index_is_told(live: Path, tmp_path: Path) -> None:
    shutil.rmtree(next(live.glob(f"*/{ID_MAP}")).parent)
    source = of_directory(live)
    assert [(found.name, found.severity) for found in source.observe().findings] == [
        ("index-missing", "failed")
    ]
    target, made = copy(live, tmp_path)
    checks = source.check(target, Observation(collections=made.layout.facts()))
    assert Verdict.FAILED in {check.verdict for check in checks}


def test_an_index_that_crashes_the_engine_is_told_and_captured(live: Path, tmp_path: Path) -> None:
    index = next(live.glob("*/data_level0.bin"))
    before = index.stat()
    os.truncate(index, 500)
    os.utime(index, ns=(before.st_atime_ns, before.st_mtime_ns))
    restored, recorded = capture(of_directory(live), tmp_path)
    assert [(found.name, found.severity) for found in recorded.findings] == [
        ("cannot-open", "failed")
    ]
    assert (restored / index.relative_to(live)).stat().st_size == 500


@pytest.mark.parametrize("content", [b"", b"hello" * 1000], ids=["empty", "garbage"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / DATABASE).write_bytes(content)
    source = of_directory(tmp_path / "live")
    with pytest.raises(IntegrityError, match=DATABASE):
        source.observe()
    with pytest.raises(IntegrityError, match=DATABASE):
        capture(source, tmp_path)


def test_a_truncated_database_is_refused(live: Path, tmp_path: Path) -> None:
    os.truncate(live / DATABASE, (live / DATABASE).stat().st_size // 2)
    with pytest.raises(IntegrityError, match="malformed"):
        copy(live, tmp_path)


def test_damage_inside_the_restored_database_is_found(live: Path, tmp_path: Path) -> None:
    target, made = copy(live, tmp_path)
    with (target / DATABASE).open("r+b") as stream:
        stream.seek((target / DATABASE).stat().st_size // 2)
        stream.write(b"\xff" * 40_000)
    checks = of_directory(live).check(target, Observation(collections=made.layout.facts()))
    assert Verdict.FAILED in {check.verdict for check in checks}


def test_a_directory_without_a_database_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"holds no chroma\.sqlite3"):
        of_directory(tmp_path).observe()


@pytest.mark.parametrize("config", [{}, {"path": Path("/x"), "url": "http://127.0.0.1:1"}])
def test_it_needs_a_path_or_a_url(config: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="either path or url"):
        ChromaStore("vectors", ChromaSource(kind="chroma", **config), local_ports())


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(PolicyError) as raised:
        of_server("http://admin:hunter2@127.0.0.1:8000")
    assert "hunter2" not in raised.value.diagnostics()


# ---- running servers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server that the tests only read."""
    directory = fill(tmp_path_factory.mktemp("server") / "live", name="served")
    with chroma_server(directory) as url:
        yield url


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a server that tests load into."""
    with chroma_server(tmp_path_factory.mktemp("target") / "store") as url:
        yield url


def test_a_server_wants_its_token(server: str, tmp_path: Path) -> None:
    token = parse_secret_ref("env:CHROMA_TOKEN")
    with proxied(server, token="right-token") as url:
        _, recorded = capture(of_server(url, token=token), tmp_path)
        assert [(facts.name, facts.count) for facts in recorded.collections] == [("served", 60)]
    with proxied(server, token="other-token") as url, pytest.raises(UnavailableError) as raised:
        of_server(url, token=token).observe()
    assert "401" in raised.value.cause
    assert "right-token" not in raised.value.diagnostics()


def test_a_server_that_is_not_chroma_is_unavailable() -> None:
    from http.server import BaseHTTPRequestHandler

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http_server(Other) as url, pytest.raises(UnavailableError, match="v2 API"):
        of_server(url).observe()


def test_a_server_that_never_answers_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmvault.sources.chroma.client._PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="cannot be reached"):
            of_server(url).observe()


@pytest.mark.parametrize("writes", [2, 1000])
def test_records_that_change_during_the_export(tmp_path: Path, writes: int) -> None:
    numbers = iter(range(writes))
    with chroma_server(fill(tmp_path / "live")) as url:

        def write_before_reading(path: str) -> None:
            collection, _, verb = path.rpartition("/")
            if verb == "get" and (number := next(numbers, None)) is not None:
                vector = chroma_writer.vector_of("d000", number)
                change = {"ids": ["d000"], "embeddings": [vector]}
                httpx.post(f"{url}{collection}/upsert", json=change).raise_for_status()

        with proxied(url, before=write_before_reading) as between:
            restored, recorded = capture(of_server(between), tmp_path)
        checks = of_server(url).check(restored, recorded)
        assert combine(check.verdict for check in checks) is Verdict.PROVEN
    told = [(found.name, found.path, found.severity) for found in recorded.findings]
    assert told == ([] if writes == 2 else [("changed-during-export", "docs", "unproven")])


def test_an_export_gives_the_same_bytes_each_time(server: str, tmp_path: Path) -> None:
    one, _ = capture(of_server(server), tmp_path, "one")
    two, _ = capture(of_server(server), tmp_path, "two")
    assert digests(one) == digests(two)
    assert list(digests(one)) == ["records.json", "served/000000.parquet", "served/collection.json"]


# ---- restoring ----------------------------------------------------------------------------------


def rich_store(path: Path, prefix: str) -> None:
    """Make a store with everything that must survive: tenants, odd metadata, uris, functions."""
    from llmvault.sources.chroma.records import CollectionHeader, Database, Record, pack_vector

    vector = pack_vector([0.1, -2.5, 3e-7])
    records = (
        Record("plain", vector, "text"),
        Record("bare", vector),
        Record(
            "rich", vector, "é\n\u2028\x00", {"i": 1, "f": 0.1, "b": True, "s": "x", "a": [1, 2]}
        ),
        Record("linked", vector, None, None, "file:///picture"),
    )
    known = {"type": "known", "name": "default", "config": {}}
    hnsw = {"space": "ip", "ef_search": 77, "max_neighbors": 9}
    databases = (Database(), Database("default_tenant", f"{prefix}-second"))
    with open_directory(path, databases, sample=5) as store:
        for database in databases:
            configuration = {"hnsw": hnsw, "embedding_function": known}
            header = CollectionHeader(
                database, f"{prefix}-docs", 3, configuration, {"purpose": "tests", "n": 1}
            )
            store.load(header, records)


@pytest.mark.parametrize(
    ("origin", "destination"),
    [("directory", "directory"), ("directory", "server"), ("server", "server")],
)
def test_everything_survives_a_round_trip(
    origin: str, destination: str, target: str, tmp_path: Path
) -> None:
    prefix = f"{origin}-{destination}"
    rich_store(tmp_path / "live", prefix)
    with ExitStack() as stack:
        if origin == "server":
            source = of_server(stack.enter_context(chroma_server(tmp_path / "live")))
        else:
            source = of_directory(tmp_path / "live")
        restored, recorded = capture(source, tmp_path)
        kept = digests(restored)
        (tmp_path / "new").mkdir()
        address = target if destination == "server" else str(tmp_path / "new")
        loaded = source.load(restored, address)
    assert digests(restored) == kept
    assert loaded == recorded.collections
    assert [facts.name for facts in loaded] == [
        f"default_tenant/{prefix}-second/{prefix}-docs",
        f"{prefix}-docs",
    ]
    settings = loaded[0].settings["configuration" if origin == "directory" else "native"]
    assert '"name":"default"' in settings
    assert '"ef_search":77' in settings


@pytest.mark.parametrize("origin", ["directory", "server"])
def test_a_drill_leaves_what_was_restored_as_it_was(
    origin: str, server: str, live: Path, tmp_path: Path
) -> None:
    source = of_server(server) if origin == "server" else of_directory(live)
    restored, recorded = capture(source, tmp_path)
    kept = digests(restored)
    with source.open_restored(restored, scratch(tmp_path)) as store:
        assert store.describe() == recorded.collections
        query = tuple(chroma_writer.vector_of("d007", 1))
        assert store.search(recorded.collections[0].name, query, 3)[0] == "d007"
    assert digests(restored) == kept
    assert not list(scratch(tmp_path).iterdir())


def test_equally_near_records_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    with chroma_client(tmp_path / "live") as client:
        same = client.create_collection("same", embedding_function=None)
        vector: chroma_writer.Vector = [1.0, 2.0]
        same.add(ids=["c", "a", "b"], embeddings=[vector] * 3)
    with of_directory(tmp_path / "live").open_live() as store:
        assert store.search("same", (1.0, 2.0), 3) == ("a", "b", "c")
        with pytest.raises(UnavailableError, match="no such collection"):
            store.search("other", (1.0, 2.0), 3)
        with pytest.raises(VaultError):
            store.search("same", (1.0,), 3)


def test_targets_that_are_not_fresh_are_refused(live: Path, tmp_path: Path, target: str) -> None:
    source = of_directory(live)
    restored, _ = copy(live, tmp_path)
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "file").write_text("mine")
    before = digests(live)
    for address in (live, live / "inside", occupied, occupied / "file"):
        with pytest.raises(RefusedError):
            source.load(restored, str(address))
    source.load(restored, target)
    with pytest.raises(RefusedError, match="already has a collection 'docs'"):
        source.load(restored, target)
    assert digests(live) == before
    assert [path.name for path in occupied.iterdir()] == ["file"]


def test_files_that_are_no_capture_cannot_be_opened(live: Path, tmp_path: Path) -> None:
    source = of_directory(live)
    (tmp_path / "restored").mkdir()
    with (
        pytest.raises(IntegrityError, match="neither a Chroma directory nor records"),
        source.open_restored(tmp_path / "restored", scratch(tmp_path)),
    ):
        pass
