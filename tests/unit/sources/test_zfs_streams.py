"""What the driver asks of ``zfs``, what it makes of listings and names, and of records."""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmvault.core.clock import SystemClock
from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.core.process import Command, Process
from llmvault.core.secrets import SecretResolver
from llmvault.policy.sources import ZfsStreamSource
from llmvault.sources.interface import Building, Link, SourcePorts
from llmvault.sources.zfs_stream import ZfsStream
from llmvault.sources.zfs_stream.journal import refuse_foreign
from llmvault.sources.zfs_stream.receiving import scratch_pool
from llmvault.sources.zfs_stream.streams import StreamFile, broken_link, chain_in, parse_name, walk
from tests.fakes.recorded_runner import Answer, RecordedRunner

# as OpenZFS 2.3.9 printed them
LISTED = (
    "tank/srv\t9823622575975652977\tfilesystem\taes-256-gcm\tunavailable\traw\ttank/srv\n"
    "tank/srv/c\t13203476792034486746\tfilesystem\taes-256-gcm\tunavailable\traw\ttank/srv\n"
)
PLAIN = "tank/srv\t9823622575975652977\tfilesystem\toff\t-\tnone\t-\n"
ABSENT = Answer(stderr="cannot open 'tank/srv': dataset does not exist\n", exit_code=1)
FORBIDDEN = Answer(stderr="cannot create snapshots : permission denied\n", exit_code=1)
NO_MODULE = Answer(
    stderr="/dev/zfs and /proc/self/mounts are required.\nTry running 'udevadm trigger'\n",
    exit_code=1,
)
LINK = Link("rp-1", "0000-full-77.zfs", 1, 0o644, "a" * 64, {"primary": "s"})


def driver(runner: RecordedRunner, keep: Path | None = None, **config: object) -> ZfsStream:
    values = {"kind": "zfs_stream", "dataset": "tank/srv", **config}
    ports = SourcePorts(runner, SecretResolver({}, runner), SystemClock(), keep)
    return ZfsStream("tank", ZfsStreamSource.model_validate(values), ports)


def test_the_state_of_encryption_is_told_and_no_place_of_a_key() -> None:
    runner = RecordedRunner({"zfs list": [Answer(LISTED)]})
    observed = driver(runner, recursive=True).observe()
    first, second = observed.details["datasets"]
    assert first["encryption"] == {
        "encryption": "aes-256-gcm",
        "keystatus": "unavailable",
        "keyformat": "raw",
        "encryptionroot": "tank/srv",
    }
    assert second["name"] == "tank/srv/c"
    assert "keylocation" not in runner.asked[0]
    plain = driver(RecordedRunner({"zfs list": [Answer(PLAIN)]})).observe()
    assert plain.details["datasets"][0]["encryption"] == {"encryption": "off"}


@pytest.mark.parametrize(
    ("answer", "step"),
    [
        (None, "zfsutils-linux"),
        ([ABSENT], "import its pool"),
        ([FORBIDDEN], "zfs allow"),
        ([NO_MODULE], "modprobe zfs"),
        ([Answer("one column\n")], "zfs list"),
    ],
)
def test_what_keeps_it_from_looking_is_told(answer: list[Answer] | None, step: str) -> None:
    with pytest.raises(UnavailableError) as raised:
        driver(RecordedRunner({"zfs list": answer})).observe()
    assert step in raised.value.next_step


def test_a_plain_stream_needs_the_key() -> None:
    with pytest.raises(UnavailableError, match="key of tank/srv is not loaded"):
        driver(RecordedRunner({"zfs list": [Answer(LISTED)]}), raw=False).observe()
    opened = LISTED.replace("unavailable", "available")
    with pytest.raises(RefusedError, match="only raw"):
        driver(RecordedRunner({"zfs list": [Answer(opened)]}), raw=False, recursive=True).observe()


def test_a_snapshot_that_cannot_be_taken_leaves_nothing_to_sweep(tmp_path: Path) -> None:
    runner = RecordedRunner({"zfs list": [Answer(PLAIN)], "zfs snapshot": [FORBIDDEN]})
    source = driver(runner, tmp_path / "keep").building(Building("nightly", "rp-2", (LINK,)))
    with pytest.raises(UnavailableError, match="permission denied"), source.capture(tmp_path):
        pass
    handle = "tank/srv@llmvault-stream-rp-2"
    assert runner.asked[1:] == [
        f"zfs snapshot {handle}",
        f"zfs release -r llmvault {handle}",
        f"zfs destroy -r {handle}",
    ]
    before = len(runner.asked)
    driver(runner, tmp_path / "keep").settle("nightly", "rp-2", stored=False)
    assert len(runner.asked) == before


@pytest.mark.parametrize("handle", ["tank/srv", "tank/srv@daily", "@llmvault-stream-x", "tank#b"])
def test_what_is_not_ours_is_never_destroyed(handle: str) -> None:
    with pytest.raises(RefusedError):
        refuse_foreign(handle)


@pytest.mark.parametrize(
    "name", ["-o", "tank/srv@x", "tank#b", "/tank", "tank//a", "1tank", "a b/c"]
)
def test_a_name_that_is_no_dataset_is_no_policy(name: str) -> None:
    with pytest.raises(ValidationError):
        driver(RecordedRunner(), dataset=name)


guids = st.integers(1, (1 << 64) - 1).map(str)


@given(st.lists(guids, min_size=1, max_size=8, unique=True), st.data())
def test_a_chain_is_whole_or_told(found: list[str], data: st.DataObject) -> None:
    chain = [
        StreamFile(place, found[place - 1] if place else "", guid)
        for place, guid in enumerate(found)
    ]
    assert [parse_name(one.name) for one in chain] == chain
    assert sorted(chain, key=lambda one: one.name) == chain
    assert broken_link(chain) == ""
    lost = data.draw(st.integers(0, len(chain) - 1))
    rest = chain[:lost] + chain[lost + 1 :]
    if rest and lost < len(chain) - 1:
        assert "is missing" in broken_link(rest)


def stream(path: Path, *, order: str = "<", since: int = 0, guid: int = 77, kind: int = 1) -> Path:
    begin = struct.pack(f"{order}IIQQQIIQQ", 0, 0, 0x2F5BACBAC, kind, 0, 2, 0, guid, since)
    end = struct.pack(f"{order}II", 5, 0)
    path.write_bytes(begin.ljust(312, b"\0") + b"data" + end.ljust(312, b"\0"))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stream_of_either_byte_order_is_read(order: str, tmp_path: Path) -> None:
    stream(tmp_path / "0000-full-77.zfs", order=order)
    stream(tmp_path / "0001-increment-77-78.zfs", order=order, since=77, guid=78)
    assert [one.guid for _, one in chain_in(tmp_path)] == ["77", "78"]


def test_a_stream_of_other_snapshots_than_its_name_says(tmp_path: Path) -> None:
    stream(tmp_path / "0000-full-78.zfs")
    with pytest.raises(IntegrityError, match="other snapshots"):
        chain_in(tmp_path)


def test_no_stream_is_no_chain(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("")
    with pytest.raises(IntegrityError, match="no stream"):
        chain_in(tmp_path)


def test_without_zstream_the_records_are_not_walked(tmp_path: Path) -> None:
    runner = _NotInstalled()
    assert walk(runner, [stream(tmp_path / "0000-full-77.zfs")])[0] == ""
    assert "zstream" in walk(runner, [tmp_path / "0000-full-77.zfs"])[1]


class _NotInstalled(RecordedRunner):
    def start(self, command: Command, *, stdin: bool = False, log: Path | None = None) -> Process:
        raise UnavailableError("zstream", "is not installed or not on PATH", "install it")


def test_pools_that_dead_drills_left_are_destroyed_and_no_others(tmp_path: Path) -> None:
    runner = RecordedRunner()
    journals = tmp_path / "pools"
    journals.mkdir()
    (journals / "llmvault-drill-dead.pool").touch()
    with (journals / "llmvault-drill-alive.pool").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        with scratch_pool(runner, tmp_path, "new", 1 << 20, journals) as pool:
            (device,) = tmp_path.glob("*.vdev")
            assert device.stat().st_size > 1 << 30
    assert pool == "llmvault-drill-new"
    destroyed = [line for line in runner.asked if "destroy" in line]
    assert destroyed == [
        "zpool destroy -f llmvault-drill-dead",
        "zpool destroy -f llmvault-drill-new",
    ]
    assert [one.name for one in journals.iterdir()] == ["llmvault-drill-alive.pool"]
    assert list(tmp_path.glob("*.vdev")) == []


def test_a_pool_that_cannot_be_destroyed_is_found_by_the_next_drill(tmp_path: Path) -> None:
    busy = Answer(stderr="cannot destroy 'x': pool is busy\n", exit_code=1)
    runner = RecordedRunner({"zpool destroy": [busy]})
    with (
        pytest.raises(UnavailableError, match="busy"),
        scratch_pool(runner, tmp_path, "new", 1 << 20, tmp_path / "pools"),
    ):
        pass
    assert [one.stem for one in (tmp_path / "pools").iterdir()] == ["llmvault-drill-new"]


def test_a_scratch_disk_that_is_too_small_is_told_before_a_pool_is_made(tmp_path: Path) -> None:
    runner = RecordedRunner()
    with (
        pytest.raises(UnavailableError, match="are free"),
        scratch_pool(runner, tmp_path, "new", 1 << 60, None),
    ):
        pass
    assert runner.asked == []
