"""Qdrant, Redis and Milvus from the command line: backed up, destroyed, drilled, restored."""

from __future__ import annotations

import shutil

import pytest

from tests.fakes import stores
from tests.fakes.qdrant_server import fake_qdrant
from tests.servers import redis_binaries, redis_server
from tests.system.deployment import Deployment

pytestmark = pytest.mark.system

PASSWORD = "password of a test"
KEY = "key of a test"
SECRETS = {"REDIS_PASSWORD": PASSWORD, "QDRANT_KEY": KEY}
NAMES = ("shards", "server", "cache", "lite", "lite-records")


def test_stores_are_proven_and_come_back_after_the_originals_are_destroyed(
    fresh: Deployment,
) -> None:
    live = fresh.live
    stores.fill_qdrant(live / "qdrant")
    stores.fill_milvus(live / "milvus.db")
    with (
        redis_server(fresh.base / "redis", major=8, password=PASSWORD) as port,
        fake_qdrant(fresh.base / "qdrant-server") as server,
    ):
        stores.fill_redis(port, PASSWORD, vectors=True)
        server.create("passages", {"vectors": {"size": 4, "distance": "Euclid"}})
        server.put("passages", stores.qdrant_points())
        server.aliases["current"] = "passages"
        server.api_key = KEY
        fresh.override(
            f"""
            sources:
              shards: {{kind: qdrant, path: {live / "qdrant"}}}
              server: {{kind: qdrant, url: "{server.urls[0]}", token: "env:QDRANT_KEY"}}
              cache:
                kind: redis
                url: redis://127.0.0.1:{port}
                password: env:REDIS_PASSWORD
                binaries: {redis_binaries(8)}
              lite: {{kind: milvus, path: {live / "milvus.db"}}}
              lite-records: {{kind: milvus, path: {live / "milvus.db"}, capture: records}}
            plans: {{nightly: {{sources: [model, configs, {", ".join(NAMES)}]}}}}
            """
        )
        backup = fresh.run("backup", "--json", more=SECRETS)
        assert (backup.exit_code, backup.document["verdict"]) == (0, "proven"), backup
        assert not server.snapshots
    shutil.rmtree(live / "qdrant")
    shutil.rmtree(live / "milvus.db")

    drill = fresh.run("drill", "--json", more=SECRETS)
    assert drill.document["verdict"] == "proven", drill
    identical = {
        check["source"]: check["detail"]
        for check in drill.document["checks"]
        if check["name"] == "records" and "identical" in check["detail"]
    }
    assert identical.keys() == set(NAMES)
    for text in (PASSWORD, KEY):
        assert text not in drill.stdout + drill.stderr + backup.stdout + backup.stderr

    base = fresh.base
    with (
        redis_server(base / "redis-2", major=8, password=PASSWORD) as port,
        fake_qdrant(base / "qdrant-server-2") as server,
    ):
        server.api_key = KEY
        places = {
            "shards": str(base / "qdrant"),
            "server": server.urls[0],
            "cache": f"redis://127.0.0.1:{port}",
            "lite": str(base / "milvus.db"),
            "lite-records": f"qdrant:{base / 'other'}",
        }
        into = [part for name, place in places.items() for part in ("--into", f"{name}={place}")]
        target = ("restore", "latest", "--target", str(base / "back"))
        restored = fresh.run(*target, *into, "--json", more=SECRETS)
        assert (restored.exit_code, restored.document.get("verdict")) == (0, "proven"), restored
        assert server.aliases == {"current": "passages"}
        again = ("restore", "latest", "--target", str(base / "again"), "--source", "server")
        refused = fresh.run(*again, "--into", f"server={server.urls[0]}", "--json", more=SECRETS)
        assert refused.exit_code == 4, refused
    assert sorted(path.name for path in (base / "other").iterdir()) == ["notes", "passages"]
