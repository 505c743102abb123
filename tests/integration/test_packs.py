"""Large files that are written ahead of restic: restic itself says what they are."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llmvault.backup.model import SourceResult
from llmvault.core.verdict import Verdict
from llmvault.keys.containers import parse_master_key
from llmvault.packs import journal, model
from llmvault.packs import run as packs_run
from llmvault.packs.files import RepositoryFiles, SharedLock
from llmvault.packs.known import read_known, tree_of
from tests.fakes.sources import FolderSource
from tests.fakes.stepping_clock import SteppingClock
from tests.vault import OTHER_PASSWORD, PLAN, Vault, write_other_repository, write_tree

pytestmark = pytest.mark.integration

MIB = 1 << 20
ONE, TWO = "inner/one.safetensors", "inner/deeper/two.gguf"
SMALL = {"config.json": b"{}", "inner/tokenizer.json": b"[1]", "other/c": b"c"}


@pytest.fixture(scope="session")
def weights() -> dict[str, bytes]:
    """Two large files, one of which ends within a piece, and small ones."""
    return {ONE: os.urandom(9 * MIB + 7), TWO: os.urandom(8 * MIB), **SMALL}


@pytest.fixture(autouse=True)
def _worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that little is worth it."""
    monkeypatch.setattr(model, "LARGE", MIB)
    monkeypatch.setattr(model, "WORTH_IT", 2 * MIB)


@pytest.fixture
def live(vault: Vault, weights: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder of weights that is protected and does not compress."""
    made = write_tree(tmp_path / "live", weights)
    vault.compression = "off"
    vault.add(FolderSource("models", made))
    return made


def backed_up(vault: Vault, *, incomplete: bool = False) -> SourceResult:
    """Back up; it must be proven, sound, and leave nothing but restic's snapshots.

    `incomplete` allows for files that a killed run did not complete.
    """
    result, _ = vault.backup()
    assert result.verdict is Verdict.PROVEN, result.sources
    for name in vault.repositories:
        checked = vault.restic("check", "--read-data", name=name)
        assert checked["num_errors"] == 0, checked
        place = vault.place(name)
        assert [*place.glob("locks/*")] == []
        assert incomplete or [*place.rglob("*.tmp")] == []
    assert not any(vault.memory.head_starts(PLAN).iterdir())
    return result.sources[0]


def snapshots(vault: Vault) -> int:
    return len([*vault.place().glob("snapshots/*")])


def restored(vault: Vault, snapshot: str, target: Path, name: str = "primary") -> dict[str, bytes]:
    """Return what restic itself restores."""
    vault.restic("restore", snapshot, "--target", str(target), name=name)
    found = (path for path in target.rglob("*") if path.is_file())
    return {str(path.relative_to(target)): path.read_bytes() for path in found}


def figures(vault: Vault, result: SourceResult) -> tuple[int, int, int]:
    """Return how many files were new, changed and unmodified to restic."""
    told = vault.summary(result)
    return told["files_new"], told["files_changed"], told["files_unmodified"]


def test_restic_finds_them_unchanged_and_brings_them_back(
    vault: Vault, live: Path, weights: dict[str, bytes], tmp_path: Path
) -> None:
    result = backed_up(vault)
    assert figures(vault, result) == (3, 0, 2)
    assert result.sha256_verified == 5
    assert result.bytes_added > 17 * MIB
    assert snapshots(vault) == 2  # the source's and the manifest's
    assert restored(vault, result.snapshot, tmp_path / "out") == weights
    assert vault.restore(tmp_path / "ours").verdict is Verdict.PROVEN
    assert figures(vault, backed_up(vault)) == (0, 0, 5)


def test_what_did_not_change_is_neither_read_nor_stored_again(
    vault: Vault, live: Path, weights: dict[str, bytes], tmp_path: Path
) -> None:
    backed_up(vault)
    third = os.urandom(20 * MIB)
    (live / "inner" / "three.bin").write_bytes(third)
    result = backed_up(vault)
    assert figures(vault, result) == (0, 0, 6)
    assert 20 * MIB < result.bytes_added < 21 * MIB
    out = restored(vault, result.snapshot, tmp_path / "out")
    assert out == {**weights, "inner/three.bin": third}


def test_the_same_content_is_stored_once(vault: Vault, live: Path) -> None:
    backed_up(vault)
    shutil.copy(live / ONE, live / "first copy.bin")
    shutil.copy(live / TWO, live / "second copy.bin")
    assert backed_up(vault).bytes_added < MIB


def test_every_repository_gets_them_under_its_own_key(
    vault: Vault, live: Path, weights: dict[str, bytes], tmp_path: Path
) -> None:
    write_other_repository(vault.place("second"))
    vault.add_repository("second", password=OTHER_PASSWORD)
    result, manifest = vault.backup()
    assert result.verdict is Verdict.PROVEN
    for name, snapshot in manifest.source("models").snapshots.items():
        assert restored(vault, snapshot, tmp_path / name, name) == weights


def test_restic_goes_on_working_with_them(
    vault: Vault, live: Path, weights: dict[str, bytes], tmp_path: Path
) -> None:
    """Pruning drops the trees that served only the head start; repacking is sound."""
    result = backed_up(vault)
    vault.restic("prune", "--max-unused", "0")
    vault.restic("prune", "--repack-uncompressed")
    assert vault.restic("check", "--read-data")["num_errors"] == 0
    assert restored(vault, result.snapshot, tmp_path / "out") == weights
    assert vault.restore(tmp_path / "ours").verdict is Verdict.PROVEN


def test_a_file_that_changes_meanwhile_is_left_to_restic(
    vault: Vault, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = packs_run._Reader._fill

    def grow(reader: packs_run._Reader, descriptor: int, whole: object) -> int:
        count = fill(reader, descriptor, whole)
        with (live / ONE).open("ab") as stream:
            stream.write(b"more")
        return count

    monkeypatch.setattr(packs_run._Reader, "_fill", grow)
    result, _ = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    assert "changed while read" in result.sources[0].reason
    assert vault.restic("check", "--read-data")["num_errors"] == 0


def test_names_that_restic_escapes_are_left_to_it(
    vault: Vault, weights: dict[str, bytes], tmp_path: Path
) -> None:
    odd = {'quo"te/one.bin': weights[ONE], "größe/two.bin": weights[TWO], **SMALL}
    vault.compression = "off"
    vault.add(FolderSource("models", write_tree(tmp_path / "odd", odd)))
    result, _ = vault.backup()
    assert result.verdict is Verdict.PROVEN
    assert figures(vault, result.sources[0]) == (5, 0, 0)
    assert restored(vault, result.sources[0].snapshot, tmp_path / "out") == odd


def test_a_repository_that_somebody_has_for_himself_is_left_alone(
    vault: Vault, live: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = opened(vault)
    document = b'{"time":"2026-01-01T00:00:00Z","exclusive":true,"hostname":"other","pid":1}'
    held = files.save("locks", document)
    ahead = packs_run.Ahead(vault.clock, "tests", vault.memory.head_starts(PLAN), lambda _: None)
    with (
        caplog.at_level(logging.WARNING),
        packs_run.written_ahead(ahead, vault.repositories, {}, live, ()) as written,
    ):
        assert written.starts == {}
    assert "another process has it for itself" in caplog.text
    assert files.names("locks") == (held.name,)
    assert [*vault.place().glob("data/*/*")] == []


def test_a_full_disk_leaves_nothing_incomplete(
    vault: Vault, live: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put = RepositoryFiles.put

    def full(files: RepositoryFiles, temporary: Path, final: Path) -> None:
        if final.parent.parent.name == "data":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(files, temporary, final)

    monkeypatch.setattr(RepositoryFiles, "put", full)
    with caplog.at_level(logging.WARNING):
        result = backed_up(vault)
    assert "No space left on device" in caplog.text
    assert figures(vault, result) == (5, 0, 0)  # restic had space


def test_an_older_snapshot_is_for_restic_to_compare_with(vault: Vault, live: Path) -> None:
    backed_up(vault)
    shutil.rmtree(vault.state / "plans")
    shutil.rmtree(vault.state / "files")
    result, _ = vault.backup()
    assert result.verdict is Verdict.PROVEN
    assert figures(vault, result.sources[0]) == (0, 0, 5)


def test_a_repository_can_be_left_to_restic(vault: Vault, live: Path) -> None:
    vault.repositories["primary"] = replace(vault.repositories["primary"], written_ahead=False)
    result, _ = vault.backup()
    assert figures(vault, result.sources[0]) == (5, 0, 0)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from llmvault.packs import files, model, run
    from tests.fakes.sources import FolderSource
    from tests.vault import Vault

    at, run._INDEX_EVERY = sys.argv[3], 1
    model.LARGE, model.WORTH_IT = 1 << 20, 2 << 20
    original = getattr(files.RepositoryFiles, "save")

    def save(self, kind, plain, **more):
        if kind == at:
            os.kill(os.getpid(), signal.SIGKILL)
        place = original(self, kind, plain, **more)
        if at == f"after {kind}":
            os.kill(os.getpid(), signal.SIGKILL)
        return place

    files.RepositoryFiles.save = save
    vault = Vault(Path(sys.argv[1]), compression="off")
    vault.add_repository()
    vault.add(FolderSource("models", Path(sys.argv[2])))
    vault.backup()
"""


@pytest.mark.parametrize("at", ["index", "after index", "snapshots", "after snapshots"])
def test_killed_anywhere_the_next_run_carries_on(
    vault: Vault, live: Path, weights: dict[str, bytes], tmp_path: Path, at: str
) -> None:
    script = textwrap.dedent(KILLED)
    died = subprocess.run(
        [sys.executable, "-c", script, str(vault.base), str(live), at], cwd=Path.cwd(), check=False
    )
    assert died.returncode == -9
    result = backed_up(vault, incomplete=True)
    assert snapshots(vault) == 2
    assert restored(vault, result.snapshot, tmp_path / "out") == weights
    if at in ("snapshots", "after snapshots"):
        assert result.bytes_added < MIB  # the index named everything already


def test_what_a_dead_run_left_incomplete_goes_after_a_day(vault: Vault, live: Path) -> None:
    left = vault.place() / "data" / "llmvault-dead.tmp"
    fresh = vault.place() / "llmvault-alive.tmp"
    for path in (left, fresh):
        path.write_bytes(b"half")
    yesterday = (vault.clock.now() - timedelta(hours=25)).timestamp()
    os.utime(left, (yesterday, yesterday))
    vault.backup()
    assert (left.exists(), fresh.exists()) == (False, True)


def test_the_mark_of_a_repository_that_is_away_is_kept(tmp_path: Path) -> None:
    marks, file = tmp_path / "marks", tmp_path / "away" / "snapshots" / ("a" * 64)
    journal.announce(marks, file)
    journal.sweep(marks)
    assert [mark.name for mark in marks.iterdir()] == ["a" * 64]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    journal.sweep(marks)
    assert [*marks.iterdir(), *file.parent.iterdir()] == []


def test_whoever_looks_for_stale_locks_leaves_ours_and_us_alone(vault: Vault, live: Path) -> None:
    """restic sends SIGHUP to the process that a lock names, to see whether it lives."""
    files, marks = opened(vault), vault.memory.head_starts(PLAN)
    with SharedLock(files, vault.clock, marks).held():
        vault.restic("unlock")
        assert len(files.names("locks")) == 1
    assert files.names("locks") == ()


def test_a_lock_is_renewed(vault: Vault) -> None:
    files, clock = opened(vault), SteppingClock()
    lock = SharedLock(files, clock, vault.memory.head_starts(PLAN))
    with lock.held():
        (first,) = files.names("locks")
        lock.renew()
        assert files.names("locks") == (first,)
        clock.sleep(300)
        lock.renew()
        (second,) = files.names("locks")
        assert second != first
    assert files.names("locks") == ()


def opened(vault: Vault) -> RepositoryFiles:
    key = parse_master_key(vault.repositories["primary"].master_key())
    return RepositoryFiles(vault.place(), key)


def test_what_restic_wrote_is_understood(vault: Vault, live: Path) -> None:
    """Indexes and trees of restic's own are compressed."""
    vault.compression = "auto"
    result, _ = vault.backup()
    files = opened(vault)
    known = read_known(files)
    listed = vault_blobs(vault)
    assert {blob.hex() for blob in known.data} == listed["data"]
    assert {blob.hex() for blob in known.trees} == listed["tree"]
    nodes = known.read_tree(files, tree_of(files, result.sources[0].snapshot))
    assert [node["name"] for node in nodes] == ["config.json", "inner", "other"]


def vault_blobs(vault: Vault) -> Mapping[str, set[str]]:
    repository = vault.repositories["primary"]
    done = subprocess.run(
        ["restic", "list", "blobs"],
        env={
            **vault.environment,
            "RESTIC_REPOSITORY": repository.url,
            "RESTIC_PASSWORD": repository.password.reveal(),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, set[str]] = {"data": set(), "tree": set()}
    for line in done.stdout.splitlines():
        kind, identity = line.split()
        found[kind].add(identity)
    return found
