"""Backup and restore over a store that is busy, breaks, throttles and cuts connections."""

from __future__ import annotations

import signal
import subprocess
import time
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
    Hook,
    faulty_proxy,
)
from tests.stores import Store, running_moto
from tests.system.deployment import Deployment
from tests.system.stored import Stored, store_deployment

pytestmark = pytest.mark.system

SHORT = """
    plans: {nightly: {drill: {goldens: [], engines: []}}}
    repositories: {primary: {verification: {parts: 2}}}
"""
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


def always(fault: Answer | None, where: str = "") -> Hook:
    """Return what breaks every request of a kind; without an answer the line is cut."""

    def hook(method: str, path: str) -> Answer | None:
        if where not in f"{method} {path}":
            return None
        if fault is None:
            raise CutError
        return fault

    return hook


def green(made: Stored) -> list[str]:
    """Return what is called proven of the deployment's recovery points."""
    listed = made.run("recovery-points", "list", "--json").document["recovery_points"]
    return [one["id"] for one in listed if one["verdict"] == "proven"]


def break_in_the_middle(made: Stored, faulty: Faulty) -> None:
    """Take a backup whose packs cannot be stored, and end it as a service's stop does."""
    faulty.hook = always(INTERNAL, "/data/")
    faulty.seen.clear()
    with subprocess.Popen(
        made.deployment.command("backup", "--json"),
        env=made.deployment.variables(made.variables),
        stdout=subprocess.DEVNULL,
    ) as process:
        while sum("/data/" in one for one in tuple(faulty.seen)) < 3:
            assert process.poll() is None, "it gave up before it was told to"
            time.sleep(0.02)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    made.deployment.wait_until_still()


def test_a_store_that_stays_broken_is_unavailable_and_the_next_run_carries_on(
    fresh: Deployment, moto: Store, faulty: Faulty
) -> None:
    fresh.override(SHORT)
    made = store_deployment(fresh, faulty.url, owner=moto.keys)
    assert made.run("init").exit_code == 0
    fresh.override("repositories: {primary: {patience: 1s}}", name="impatient")
    for fault in (SLOW_DOWN, INTERNAL, THROTTLED, None):
        faulty.hook = always(fault)
        faulty.seen.clear()
        done = made.run("backup", "--json")
        assert done.exit_code == 5, (fault, done)
        assert faulty.seen, "it was tried"
        assert done.error["thing"] == 'repository "primary"', done
        assert done.error["next_step"]
    (fresh.policies / "overrides.d" / "impatient.yaml").unlink()
    break_in_the_middle(made, faulty)
    assert green(made) == []
    faulty.hook = None
    told = made.run("backup", "--json")
    assert (told.exit_code, told.document["verdict"]) == (0, "proven"), told
    assert green(made) == [told.document["recovery_point"]]
    verified = made.run("verify", "--all", "--json")
    assert (verified.exit_code, verified.document["verdict"]) == (0, "proven"), verified


def test_a_backup_and_a_restore_get_through(
    fresh: Deployment, moto: Store, faulty: Faulty, tmp_path: Path
) -> None:
    fresh.override(SHORT)
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
