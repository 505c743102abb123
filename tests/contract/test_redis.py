"""The driver of Redis passes the suites on real servers, Redis 7 and Redis 8 with vector sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmvault.policy.sources import RedisSource
from llmvault.sources.interface import Source
from llmvault.sources.redis import RedisStore
from tests.contract.source import OpensContract, SourceContract, SourceExample, local_ports
from tests.fakes import stores
from tests.servers import free_port, redis_binaries, redis_server

pytestmark = pytest.mark.integration

PASSWORD = "password of a test"


def driver(port: int, major: int, **more: object) -> RedisStore:
    declared = {
        "kind": "redis",
        "url": f"redis://127.0.0.1:{port}",
        "password": "env:PASSWORD",
        "binaries": redis_binaries(major),
        **more,
    }
    ports = local_ports({"PATH": "/usr/bin:/bin", "PASSWORD": PASSWORD})
    return RedisStore("cache", RedisSource.model_validate(declared), ports)


@pytest.fixture(scope="module")
def redis_7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis"), major=7, password=PASSWORD) as port:
        stores.fill_redis(port, PASSWORD)
        yield port


@pytest.fixture(scope="module")
def redis_8(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis"), major=8, password=PASSWORD) as port:
        stores.fill_redis(port, PASSWORD, vectors=True)
        yield port


class TestRedis7(SourceContract, OpensContract):
    major = 7

    @pytest.fixture
    def port(self, redis_7: int) -> int:
        return redis_7

    @pytest.fixture
    def example(self, port: int) -> SourceExample:
        expected = {"db0.string", "db0.hash", "db0.stream", "db3.string"}
        if self.major >= 8:
            expected |= {"db0.vectorset", "db0:passages"}
        return SourceExample(
            driver(port, self.major, keys=["queue"]),
            files=frozenset({"dump.rdb"}),
            collections=frozenset(expected),
            secrets=(PASSWORD,),
        )

    @pytest.fixture
    def missing(self) -> Source:
        return driver(free_port(), self.major)

    def fingerprint(self, example: SourceExample) -> object:
        assert isinstance(example.source, RedisStore)
        with example.source.open_live() as live:
            return live.describe()

    def damage(self, restored: Path) -> None:
        content = bytearray((restored / "dump.rdb").read_bytes())
        content[len(content) // 2] ^= 1
        (restored / "dump.rdb").write_bytes(content)


class TestRedis8(TestRedis7):
    major = 8

    @pytest.fixture
    def port(self, redis_8: int) -> int:
        return redis_8
