"""Stores that are busy, cut the connection or lie, and programs that are killed at a write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.locks.apply import extend_locks
from llmvault.locks.inventory import Inventory
from llmvault.objectstore.model import Upload
from tests.buckets import COMPLIANCE, site
from tests.fakes.faulty_proxy import (
    INTERNAL,
    SLOW_DOWN,
    Answer,
    CutError,
    Faulty,
    Hook,
    faulty_proxy,
)
from tests.integration.lock_extender import open_bucket, plan_of
from tests.stores import Store

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
OBJECTS = 40


@pytest.fixture
def faulty(moto: Store) -> Iterator[Faulty]:
    """A proxy before moto."""
    with faulty_proxy(moto.endpoint) as proxy:
        yield proxy


@pytest.fixture
def filled(moto: Store) -> str:
    """A bucket with locks switched on, and objects that have none."""
    made = site(moto, lock={"mode": "compliance", "period": "30d", "per_object": True}, prefix="")
    made.apply()
    bucket = moto.bucket(made.name)
    for number in range(OBJECTS):
        bucket.put(f"data/{number:02}/pack{number}", b"pack")
    return made.name


def first(times: int, answer: Answer | None, *, where: str = "") -> Hook:
    """Return what misbehaves at the first requests of a kind; without an answer the line is cut."""
    left = times

    def hook(method: str, path: str) -> Answer | None:
        nonlocal left
        if where and where not in f"{method} {path}":
            return None
        left -= 1
        if left < 0:
            return None
        if answer is None:
            raise CutError
        return answer

    return hook


@pytest.mark.parametrize("answer", [SLOW_DOWN, INTERNAL, None], ids=["busy", "500", "cut"])
def test_trouble_that_passes_is_not_noticed(
    faulty: Faulty, moto: Store, answer: Answer | None
) -> None:
    faulty.hook = first(2, answer)
    made = site(Store(faulty.url, moto.keys), lock=COMPLIANCE)
    assert {check.verdict for check in made.apply().values()} == {Verdict.PROVEN}
    assert made.differing() == []


@pytest.mark.parametrize("answer", [SLOW_DOWN, None], ids=["busy", "cut"])
def test_trouble_that_stays_is_unavailable_and_goes_on_later(
    faulty: Faulty, filled: str, tmp_path: Path, answer: Answer | None
) -> None:
    bucket, inventory = open_bucket(faulty.url, filled), Inventory(tmp_path, "0" * 64)
    plan = plan_of(bucket, inventory)
    assert len(plan.extend) == OBJECTS
    faulty.hook = first(10**6, answer, where="PUT")
    with pytest.raises(UnavailableError):
        extend_locks(bucket, plan, inventory, lambda _: None)
    faulty.hook = None
    again = plan_of(bucket, inventory)
    extend_locks(bucket, again, inventory, lambda _: None)
    assert plan_of(bucket, inventory).extend == ()


def test_one_head_for_each_object_and_none_the_next_time(
    faulty: Faulty, filled: str, tmp_path: Path
) -> None:
    bucket, inventory = open_bucket(faulty.url, filled), Inventory(tmp_path, "0" * 64)
    extend_locks(bucket, plan_of(bucket, inventory), inventory, lambda _: None)
    heads = [one for one in faulty.seen if one.startswith("HEAD")]
    assert len(set(heads)) == OBJECTS
    assert len(heads) == OBJECTS + 1  # one more for the batch, which is read back
    faulty.seen.clear()
    assert plan_of(bucket, inventory).extend == ()
    assert [one.split("?")[0] for one in faulty.seen] == [f"GET /{filled}"]


def test_a_lock_that_was_accepted_and_not_kept_is_noticed(
    faulty: Faulty, filled: str, tmp_path: Path
) -> None:
    bucket, inventory = open_bucket(faulty.url, filled), Inventory(tmp_path, "0" * 64)
    plan = plan_of(bucket, inventory)
    faulty.hook = first(10**6, Answer(200, "ok"), where="PUT")
    with pytest.raises(IntegrityError, match="did not keep it"):
        extend_locks(bucket, plan, inventory, lambda _: None)
    faulty.hook = None
    assert len(plan_of(bucket, inventory).extend) == OBJECTS


def test_an_extension_that_was_killed_goes_on(faulty: Faulty, filled: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.integration.lock_extender", faulty.url, filled]
    argv.append(str(tmp_path))
    puts = 0
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:

        def kill(method: str, _: str) -> Answer | None:
            nonlocal puts
            puts += method == "PUT"
            if puts == OBJECTS * 3 // 4:
                os.kill(process.pid, signal.SIGKILL)
            return None

        faulty.hook = kill
    assert process.returncode == -signal.SIGKILL
    faulty.hook = None
    bucket, inventory = open_bucket(faulty.url, filled), Inventory(tmp_path, "0" * 64)
    left = plan_of(bucket, inventory)
    assert 0 < len(left.extend) < OBJECTS
    faulty.seen.clear()
    extend_locks(bucket, left, inventory, lambda _: None)
    heads = [one for one in faulty.seen if one.startswith("HEAD")]
    assert len(heads) == 1  # of the batch that is read back; every lock was known
    assert plan_of(bucket, inventory).extend == ()


@pytest.mark.parametrize("write", range(1, 6))
def test_setting_up_that_was_cut_off_at_any_write_is_finished_by_the_next_run(
    faulty: Faulty, moto: Store, write: int
) -> None:
    made = site(Store(faulty.url, moto.keys), lock=COMPLIANCE, encryption="AES256",
                backup_principal="arn:aws:iam::1:user/b")  # fmt: skip
    puts = 0

    def stop(method: str, _: str) -> Answer | None:
        nonlocal puts
        puts += method == "PUT"
        if puts >= write:
            raise CutError
        return None

    faulty.hook = stop
    try:
        made.apply()
    except UnavailableError:
        pass
    else:
        assert write > 4
    assert [kind for kind, _ in made.ledger.entries] == ["bucket.changing", "bucket.changed"]
    faulty.hook = None
    assert {check.verdict for check in made.apply().values()} == {Verdict.PROVEN}
    assert made.differing() == []


def test_partial_uploads_are_seen_and_thrown_away(moto: Store, filled: str) -> None:
    bucket = moto.bucket(filled)
    bucket._call("create_multipart_upload", Key="data/aa/half")
    (upload,) = bucket.uploads("data/")
    assert isinstance(upload, Upload)
    assert upload.key == "data/aa/half"
    assert [one.key for one in bucket.versions("data/aa/")] == []  # nothing to be kept
    bucket.abort_upload(upload)
    assert bucket.uploads("data/") == ()
