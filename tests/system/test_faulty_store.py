"""Backup and restore over a store that is busy, breaks, throttles and cuts connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.faulty_proxy import (
    HALF,
    INTERNAL,
    SLOW_DOWN,
    THROTTLED,
    Answer,
    CutError,
    Faulty,
    faulty_proxy,
)
from tests.stores import Store, running_moto
from tests.system.deployment import Deployment
from tests.system.stored import store_deployment

pytestmark = pytest.mark.system

EVERY = 13
FAULTS = {2: SLOW_DOWN, 4: INTERNAL, 6: None, 8: THROTTLED, 10: HALF}


@pytest.fixture(scope="module")
def moto() -> Iterator[Store]:
    with running_moto() as store:
        yield store


@pytest.fixture
def faulty(moto: Store) -> Iterator[Faulty]:
    with faulty_proxy(moto.endpoint) as proxy:
        yield proxy


def troubled(faulty: Faulty) -> Counter[str]:
    """Let every kind of trouble come again and again, and pass; return how often each came."""
    came: Counter[str] = Counter()
    requests = 0

    def hook(method: str, path: str) -> Answer | None:
        nonlocal requests
        if "/data/" not in path and "/index/" not in path and "/snapshots/" not in path:
            return None
        requests += 1
        place = requests % EVERY
        if place not in FAULTS:
            return None
        if FAULTS[place] is HALF and (method != "GET" or path.endswith("/")):
            requests -= 1  # it waits for something to be read
            return None
        fault = FAULTS[place]
        if fault is None:
            came["cut"] += 1
            raise CutError
        came[fault.code] += 1
        return fault

    faulty.hook = hook
    return came


def test_a_backup_and_a_restore_get_through(
    fresh: Deployment, moto: Store, faulty: Faulty, tmp_path: Path
) -> None:
    fresh.override("plans: {nightly: {drill: {goldens: [], engines: []}}}")
    made = store_deployment(fresh, faulty.url, owner=moto.keys)
    assert made.run("init").exit_code == 0
    came = troubled(faulty)
    backup = made.run("backup", "--json")
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven"), backup
    restored = made.run("restore", "latest", "--target", str(tmp_path / "out"), "--json")
    assert (restored.exit_code, restored.document["verdict"]) == (0, "proven"), restored
    assert set(came) == {*(one.code for one in FAULTS.values() if one), "cut"}
    faulty.hook = None
    verified = made.run("verify", "--all", "--json")
    assert (verified.exit_code, verified.document["verdict"]) == (0, "proven"), verified
