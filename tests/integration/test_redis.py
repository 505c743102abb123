"""Redis, for real: bad input, refused targets, files that lie elsewhere, nothing left behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from llmvault.core.errors import IntegrityError, PolicyError, RefusedError, UnavailableError
from llmvault.core.verdict import Verdict, combine
from llmvault.policy.sources import RedisSource
from llmvault.sources.interface import Observation
from llmvault.sources.redis import RedisStore
from tests.contract.source import capture_into, local_ports
from tests.fakes import stores
from tests.servers import redis_binaries, redis_server

pytestmark = pytest.mark.integration

PASSWORD = "password of a test"
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis"), password=PASSWORD) as number:
        yield number


@pytest.fixture
def filled(port: int) -> int:
    stores.fill_redis(port, PASSWORD)
    return port


@pytest.fixture(scope="module")
def port_8(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis"), major=8, password=PASSWORD) as number:
        yield number


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[int]:
    with redis_server(tmp_path / "empty", password=PASSWORD) as number:
        yield number


def at(port: int, *, major: int = 7, password: str = PASSWORD, **more: object) -> RedisStore:
    declared = {
        "kind": "redis",
        "url": f"redis://127.0.0.1:{port}",
        "password": "env:PASSWORD",
        "binaries": redis_binaries(major),
        **more,
    }
    ports = local_ports({"PATH": "/usr/bin:/bin", "PASSWORD": password})
    return RedisStore("cache", RedisSource.model_validate(declared), ports)


def client(port: int) -> redis.Redis:
    return redis.Redis(port=port, password=PASSWORD)


def captured(source: RedisStore, tmp_path: Path) -> tuple[Path, Observation]:
    shutil.rmtree(tmp_path / "restored", ignore_errors=True)
    observation, _ = capture_into(source, tmp_path / "restored", tmp_path)
    return tmp_path / "restored", observation


def grave(observation: Observation) -> dict[str, str]:
    return {one.name: one.severity for one in observation.findings if one.severity != "warning"}


def verdicts(source: RedisStore, restored: Path, recorded: Observation) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in source.check(restored, recorded)}


def counts(recorded: Observation) -> dict[str, int]:
    return {facts.name: facts.count for facts in recorded.collections}


def test_every_key_is_loaded_into_an_empty_server_and_no_other(
    filled: int, empty: int, tmp_path: Path
) -> None:
    source = at(filled)
    restored, recorded = captured(source, tmp_path)
    for refused in (f"redis://127.0.0.1:{filled}", f"redis://localhost:{filled}"):
        with pytest.raises(RefusedError, match="live store"):
            source.load(restored, refused)
    assert source.load(restored, f"redis://127.0.0.1:{empty}") == recorded.collections
    with client(empty) as there:
        assert there.get(b"\xff\x00key") == b"\xfe\x00value"
        assert 0 < there.ttl("lapses") <= 3_600
        assert there.xinfo_groups("events")[0]["name"] == b"readers"
    with pytest.raises(RefusedError, match="it holds keys"):
        source.load(restored, f"redis://127.0.0.1:{empty}")


def test_a_load_that_fails_leaves_the_server_empty(filled: int, tmp_path: Path) -> None:
    restored, _ = captured(at(filled), tmp_path)
    with redis_server(tmp_path / "small", password=PASSWORD, more="databases 1\n") as small:
        with pytest.raises(IntegrityError, match="out of range"):
            at(filled).load(restored, f"redis://127.0.0.1:{small}")
        with client(small) as there:
            assert there.dbsize() == 0


def test_the_file_is_put_into_a_new_directory_only(filled: int, tmp_path: Path) -> None:
    source = at(filled)
    restored, recorded = captured(source, tmp_path)
    assert source.load(restored, str(tmp_path / "new")) == recorded.collections
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["dump.rdb"]
    with pytest.raises(RefusedError):
        source.load(restored, str(tmp_path / "new"))


def test_a_file_that_lies_elsewhere_is_fetched_as_by_a_replica(filled: int, tmp_path: Path) -> None:
    stale = tmp_path / "dump.rdb"
    stale.write_bytes(b"another server's")
    source = at(filled, rdb=stale, binaries="/usr/bin")
    restored, recorded = captured(source, tmp_path)
    assert not grave(recorded)
    assert counts(recorded)["db0.string"] == stores.COUNT + 1
    assert combine(verdicts(source, restored, recorded).values()) is Verdict.PROVEN
    without = at(filled, rdb=stale, binaries=tmp_path)
    with pytest.raises(UnavailableError, match="redis-cli"):
        captured(without, tmp_path)


def test_a_wrong_password_and_one_in_the_url_are_told_without_it(filled: int) -> None:
    with pytest.raises(UnavailableError, match="refuses access") as refused:
        at(filled, password="wrong one").observe()
    assert "wrong one" not in refused.value.diagnostics()
    with pytest.raises(PolicyError) as told:
        at(filled, url="redis://:secret@127.0.0.1:1")
    assert "secret" not in told.value.diagnostics()


def test_a_save_that_fails_is_unavailable(tmp_path: Path) -> None:
    home = tmp_path / "server"
    allowed = "enable-protected-configs yes\n"
    with redis_server(home, password=PASSWORD, more=allowed) as number:
        stores.fill_redis(number, PASSWORD)
        gone = home / "gone"
        gone.mkdir()
        with client(number) as there:
            there.config_set("dir", str(gone))
        gone.rmdir()
        with pytest.raises(UnavailableError, match="background save failed"):
            captured(at(number), tmp_path)


def test_a_newer_file_than_the_program_knows_is_unproven(port_8: int, tmp_path: Path) -> None:
    stores.fill_redis(port_8, PASSWORD, vectors=True)
    old = at(port_8)  # Redis 7 is to open it
    restored, recorded = captured(old, tmp_path)
    assert grave(recorded) == {"copy-not-opened": "unproven"}
    (check,) = old.check(restored, recorded)
    assert check.verdict is Verdict.UNPROVEN
    assert "RDB format version" in check.detail


def test_nothing_and_missing_keys_are_never_green(port: int, tmp_path: Path) -> None:
    with client(port) as there:
        there.flushall()
    source = at(port)
    restored, recorded = captured(source, tmp_path)
    assert grave(recorded) == {"no-keys": "unproven"}
    assert combine(verdicts(source, restored, recorded).values()) is not Verdict.PROVEN
    stores.fill_redis(port, PASSWORD)
    assert grave(at(port, keys=["queue", "users"]).observe()) == {"key-missing": "failed"}


def test_an_empty_or_foreign_file_fails(filled: int, tmp_path: Path) -> None:
    source = at(filled)
    restored, recorded = captured(source, tmp_path)
    (restored / "dump.rdb").write_bytes(b"")
    assert verdicts(source, restored, recorded) == {"rdb": Verdict.FAILED}
    (restored / "dump.rdb").unlink()
    assert verdicts(source, restored, recorded) == {"rdb": Verdict.FAILED}


def test_a_complete_file_of_an_empty_server_fails(filled: int, empty: int, tmp_path: Path) -> None:
    source = at(filled)
    restored, recorded = captured(source, tmp_path)
    (tmp_path / "other").mkdir()
    hollow, _ = captured(at(empty), tmp_path / "other")
    shutil.copyfile(hollow / "dump.rdb", restored / "dump.rdb")
    assert verdicts(source, restored, recorded)["collections"] is Verdict.FAILED


def test_keys_that_lapse_meanwhile_are_no_fault(filled: int, tmp_path: Path) -> None:
    with client(filled) as there:
        there.set("gone soon", "x", px=5_000)
        source = at(filled)
        restored, recorded = captured(source, tmp_path)
        assert recorded.details["expiring"] == {"db0": 2}
        give_up = time.monotonic() + WAIT_SECONDS
        while there.exists("gone soon"):
            assert time.monotonic() < give_up
            time.sleep(0.05)
    found = {check.name: check for check in source.check(restored, recorded)}
    assert {check.verdict for check in found.values()} == {Verdict.PROVEN}
    assert found["expiring-keys"].detail.startswith("1 of 2 keys")


def test_a_value_of_16_mib_and_broken_text_are_captured(filled: int, tmp_path: Path) -> None:
    with client(filled) as there:
        there.set("a large one", b"\xff" * (16 << 20))
    source = at(filled, sample=100)
    restored, recorded = captured(source, tmp_path)
    (strings,) = [one for one in recorded.collections if one.name == "db0.string"]
    assert {"a large one", "\\xff\x00key"} <= strings.sample_digests.keys()
    assert combine(verdicts(source, restored, recorded).values()) is Verdict.PROVEN


def test_vector_sets_are_compared_and_searched(port_8: int, tmp_path: Path) -> None:
    stores.fill_redis(port_8, PASSWORD, vectors=True)
    source = at(port_8, major=8)
    restored, recorded = captured(source, tmp_path)
    (passages,) = [one for one in recorded.collections if one.name == "db0:passages"]
    assert (passages.count, passages.dimension) == (stores.COUNT, 4)
    assert passages.settings["quant-type"] == "f32"
    with source.open_restored(restored, tmp_path) as opened:
        assert opened.search("db0:passages", stores.vector(9), 1) == (stores.key(9),)
        for unknown in ("db0:nothing", "db9:passages", "passages"):
            with pytest.raises(UnavailableError, match="no such vector set"):
                opened.search(unknown, stores.vector(9), 1)
        with pytest.raises(IntegrityError):
            opened.search("db0:passages", (1.0, 2.0), 1)
    with client(port_8) as there:
        there.delete("passages")
        for index in range(stores.COUNT):
            values = stores.packed(index)
            there.execute_command("VADD", "passages", "FP32", values, stores.key(index), "Q8")
    other, _ = capture_into(source, tmp_path / "other", tmp_path)
    found = verdicts(source, tmp_path / "other", recorded)
    assert found["settings"] is Verdict.FAILED
    assert found["samples"] is Verdict.FAILED
    assert not grave(other)
