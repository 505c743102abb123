"""What a host remembers: small files that may be torn, locks, staging."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.core.errors import UnavailableError
from llmvault.recovery_points.find import entry_of, local_manifest, local_manifests
from llmvault.recovery_points.manifest import encode
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.model import FileState, LastRun
from tests.fakes.manifests import file_record, manifest, paths, source_record

ROOT = Path(__file__).parents[3]
RUN = LastRun("rp-1", {"models": {"near": "s1", "far": "s2"}}, {"near": "id1", "far": "id2"})
STATE = FileState(3, 2**62, 2**61, 17, "ab" * 32, "cd" * 32)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "made" / "state")


def test_a_run_is_remembered(memory: Memory) -> None:
    assert memory.last_run("nightly") == LastRun()
    memory.remember_run("nightly", RUN)
    assert memory.last_run("nightly") == RUN
    assert memory.last_run("weekly") == LastRun()


def test_a_repository_is_forgotten(memory: Memory) -> None:
    memory.remember_run("nightly", RUN)
    memory.forget_repository("nightly", "near")
    assert memory.last_run("nightly") == LastRun("rp-1", {"models": {"far": "s2"}}, {"far": "id2"})


@given(path=paths)
def test_file_states_are_remembered_whatever_the_name(
    tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    memory = Memory(tmp_path_factory.mktemp("state"))
    memory.remember_files("nightly", "models", {path: STATE})
    assert memory.file_states("nightly", "models") == {path: STATE}
    assert memory.file_states("nightly", "configs") == {}


GARBAGE = [b"", b"{", b"null", b"[]", b"5", b"\xff\xfe", b'{"recovery_point": "rp-1"}', b"\0" * 100]
WRONG_RUNS = [
    {"recovery_point": 5, "parents": {}, "repositories": {}},
    {"recovery_point": "rp-1", "parents": [], "repositories": {}},
    {"recovery_point": "rp-1", "parents": {"models": "s1"}, "repositories": {}},
    {"recovery_point": "rp-1", "parents": {"models": {"near": 5}}, "repositories": {}},
    {"recovery_point": "rp-1", "parents": {}, "repositories": ["near"]},
]
WRONG_STATES = [
    {"a": 5},
    {"a": "abcdef"},
    {"a": [1, 2, 3, 4, "x"]},
    {"a": [1, 2, 3, 4, "x", 5]},
    {"a": [1.5, 2, 3, 4, "x", "y"]},
    {"a": {"size": 1}},
]


@pytest.mark.parametrize("content", [*GARBAGE, *(json.dumps(w).encode() for w in WRONG_RUNS)])
def test_a_garbled_run_counts_as_none(memory: Memory, content: bytes) -> None:
    memory.remember_run("nightly", RUN)
    (file,) = memory.directory.glob("plans/*")
    file.write_bytes(content)
    assert memory.last_run("nightly") == LastRun()


@pytest.mark.parametrize(
    "content", [*GARBAGE[:-2], *(json.dumps(w).encode() for w in WRONG_STATES)]
)
def test_garbled_file_states_count_as_none(memory: Memory, content: bytes) -> None:
    memory.remember_files("nightly", "models", {"a": STATE})
    (file,) = memory.directory.glob("files/*/*")
    file.write_bytes(content)
    assert memory.file_states("nightly", "models") == {}


@given(st.integers(0, 200))
def test_a_torn_file_counts_as_none(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    memory = Memory(tmp_path_factory.mktemp("state"))
    memory.remember_files("nightly", "models", {"a": STATE, "b": STATE})
    (file,) = memory.directory.glob("files/*/*")
    file.write_bytes(file.read_bytes()[:length])
    assert memory.file_states("nightly", "models") == {}


def test_everything_is_private(memory: Memory) -> None:
    memory.remember_run("nightly", RUN)
    memory.keep_manifest("rp-1", b"{}")
    with memory.exclusive("backup-nightly"), memory.staging("nightly", "rp-1") as place:
        found = [memory.directory, *memory.directory.rglob("*")]
        assert place in found
        assert {path: path.stat().st_mode & 0o077 for path in found} == dict.fromkeys(found, 0)
    assert memory.directory.parent.stat().st_mode & 0o077 == 0


def test_staging_is_empty_and_swept(memory: Memory) -> None:
    with memory.staging("nightly", "rp-1") as place:
        (place / "copy").mkdir(mode=0o500)
        assert memory.directory in place.parents
    assert not place.exists()


def test_staging_of_a_dead_run_is_swept(memory: Memory) -> None:
    left = memory.directory / "staging" / "nightly" / "rp-0"
    (left / "copy").mkdir(parents=True)
    (left / "copy" / "file").touch(mode=0o400)
    other = memory.directory / "staging" / "weekly" / "rp-0"
    other.mkdir(parents=True)
    with memory.staging("nightly", "rp-1") as place:
        assert list(place.iterdir()) == []
        assert not left.exists()
    assert other.exists(), "another plan may be running"


def test_staging_is_swept_after_an_error(memory: Memory) -> None:
    with pytest.raises(ZeroDivisionError), memory.staging("nightly", "rp-1") as place:
        raise ZeroDivisionError
    assert not place.exists()


def test_a_lock_excludes_others_of_its_name(memory: Memory) -> None:
    with memory.exclusive("backup-nightly"):
        refused = pytest.raises(UnavailableError, match=f"process {os.getpid()} is already at it")
        with refused, memory.exclusive("backup-nightly"):
            pass
        with memory.exclusive("backup-weekly"):
            pass
    with memory.exclusive("backup-nightly"):
        pass


HOLDER = """
import sys
from pathlib import Path
from llmvault.recovery_points.memory import Memory
with Memory(Path(sys.argv[1])).exclusive("backup-nightly"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_holds_between_processes_and_ends_with_the_holder(memory: Memory) -> None:
    argv = [sys.executable, "-c", HOLDER, str(memory.directory)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        refused = pytest.raises(UnavailableError, match=f"process {holder.pid} is already at it")
        with refused, memory.exclusive("backup-nightly"):
            pass
        holder.kill()
        holder.wait()
        with memory.exclusive("backup-nightly"):
            pass


def test_only_whole_local_manifests_count(memory: Memory) -> None:
    record = file_record("a")
    point = manifest(source_record("models", record), files={"models": (record,)})
    assert local_manifest(memory, point.id) is None
    memory.keep_manifest(point.id, encode(point))
    memory.keep_manifest("rp-torn", encode(point)[:-10])
    memory.keep_manifest("rp-another", encode(point))
    assert local_manifest(memory, point.id) == point
    assert local_manifest(memory, "rp-torn") is None
    assert local_manifest(memory, "rp-another") is None
    assert list(local_manifests(memory, ())) == [point]
    assert list(local_manifests(memory, {point.id})) == []


def test_the_catalog_lists_sums() -> None:
    records = (file_record("a", size=5), file_record("b", size=6))
    point = manifest(source_record("models", *records), source_record("configs"))
    entry = entry_of(point)
    assert (entry.id, entry.plan, entry.verdict) == (point.id, "nightly", "proven")
    assert (entry.files, entry.bytes) == (2, 11)
    assert [source["name"] for source in entry.sources] == ["models", "configs"]
    assert entry.sources[0]["snapshots"] == {"primary": "snapshot-of-models"}
