"""Repositories that are absent, broken, foreign, exchanged or busy."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.process import Command, Completed, LocalRunner, Process
from llmvault.core.verdict import Verdict
from llmvault.recovery_points.find import (
    find_manifest,
    load_manifest,
    local_manifest,
    stored_points,
    whole_manifests,
)
from llmvault.recovery_points.manifest import FILENAME, TornManifestError, encode
from llmvault.restic.command import BackupOptions
from tests.fakes.sources import FolderSource, StreamSource
from tests.vault import (
    HOST,
    OTHER_IDENTITY,
    OTHER_PASSWORD,
    PLAN,
    Vault,
    write_other_repository,
    write_tree,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def live(vault: Vault, tmp_path: Path) -> Path:
    """A vault that protects one folder and one stream."""
    root = write_tree(tmp_path / "live", {"a": b"one", "b/c": b"two"})
    vault.add(FolderSource("models", root), StreamSource("database", [b"dump"]))
    return root


def nothing_was_taken(vault: Vault) -> bool:
    """Whether this host remembers no recovery point at all."""
    return not list(vault.state.glob("recovery-points/*")) and not list(vault.state.glob("plans/*"))


def exchange(vault: Vault, name: str = "primary") -> None:
    """Put another repository in the place of one."""
    shutil.rmtree(vault.place(name))
    write_other_repository(vault.place(name))
    vault.add_repository(name, password=OTHER_PASSWORD)


def test_a_recovery_point_is_found_in_the_repository_alone(vault: Vault, live: Path) -> None:
    result, manifest = vault.backup()
    assert result.verdict is Verdict.PROVEN
    repository = vault.repositories["primary"]
    found, where = find_manifest([repository], "latest", plan=PLAN)
    assert (found, where) == (manifest, repository)
    assert find_manifest([repository], manifest.id)[0] == manifest
    assert local_manifest(vault.memory, manifest.id) == manifest
    tags = {tag for snapshot in repository.snapshots() for tag in snapshot.tags}
    assert tags == {
        f"llmvault:plan={PLAN}",
        "llmvault:source=models",
        "llmvault:source=database",
        f"llmvault:recovery-point={manifest.id}",
        "llmvault:manifest",
    }
    assert {snapshot.host for snapshot in repository.snapshots()} == {HOST}


def test_a_repository_is_created_once(vault: Vault, live: Path) -> None:
    shutil.rmtree(vault.place())
    identity = vault.repositories["primary"].init()
    assert vault.repositories["primary"].config_id() == identity
    assert vault.repositories["primary"].snapshots() == ()
    with pytest.raises(UnavailableError, match="already"):
        vault.repositories["primary"].init()


@dataclass
class Counting(LocalRunner):
    """Counts restic's calls."""

    environment: dict[str, str]
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.environment)

    def run(
        self, command: Command, *, stdin: bytes | None = None, timeout: float | None = None
    ) -> Completed:
        self.calls.append(command.argv[1])
        return super().run(command, stdin=stdin, timeout=timeout)

    def start(self, command: Command, *, stdin: bool = False, log: Path | None = None) -> Process:
        self.calls.append(command.argv[1])
        return super().start(command, stdin=stdin, log=log)


def test_restic_is_not_called_more_often_than_needed(vault: Vault, live: Path) -> None:
    """Each call costs half a second: a repository with a parent need not be asked who it is."""
    runner = Counting(vault.environment)
    vault.repositories["primary"] = replace(vault.repositories["primary"], runner=runner)
    vault.backup("models", "database")
    assert sorted(runner.calls[:2]) == ["cat", "snapshots"]  # asked at the same time
    assert runner.calls[2:] == ["backup", "backup", "backup"]
    runner.calls.clear()
    vault.backup("models", "database")
    assert runner.calls == ["backup", "backup", "backup"]


def test_an_absent_repository_is_unavailable(vault: Vault, live: Path) -> None:
    shutil.rmtree(vault.place())
    with pytest.raises(UnavailableError, match="there is no repository"):
        vault.backup()
    assert nothing_was_taken(vault)


def test_a_wrong_password_is_unavailable_and_not_told(vault: Vault, live: Path) -> None:
    vault.add_repository(password="sesame open")
    with pytest.raises(UnavailableError, match="the password does not open it") as raised:
        vault.backup()
    assert "sesame" not in raised.value.diagnostics()
    assert nothing_was_taken(vault)


@pytest.mark.parametrize("trouble", ["absent", "password"])
def test_trouble_after_the_first_recovery_point_takes_none(
    vault: Vault, live: Path, trouble: str
) -> None:
    _, first = vault.backup()
    if trouble == "absent":
        shutil.rmtree(vault.place())
    else:
        vault.add_repository(password="sesame open")
    with pytest.raises(UnavailableError):
        vault.backup()
    assert [path.stem for path in vault.state.glob("recovery-points/*")] == [first.id]
    assert vault.memory.last_run(PLAN).recovery_point == first.id


def test_a_repository_of_another_project_is_refused(vault: Vault, live: Path) -> None:
    vault.restic("backup", ".", root=live)
    with pytest.raises(RefusedError, match="it belongs to another project"):
        vault.backup()
    assert len(vault.repositories["primary"].snapshots()) == 1


def test_an_exchanged_repository_is_refused_and_not_written_to(vault: Vault, live: Path) -> None:
    vault.backup()
    exchange(vault)
    with pytest.raises(RefusedError, match=f"id {OTHER_IDENTITY[:8]}, expected") as raised:
        vault.backup()
    assert "init --adopt" in raised.value.next_step
    assert vault.repositories["primary"].snapshots() == ()


@pytest.mark.parametrize("first", ["database", "models"])
def test_it_is_refused_whichever_source_is_first(vault: Vault, live: Path, first: str) -> None:
    vault.backup()
    exchange(vault)
    others = [name for name in vault.sources if name != first]
    with pytest.raises(RefusedError):
        vault.backup(first, *others)
    assert vault.repositories["primary"].snapshots() == ()


def test_it_is_refused_when_the_first_source_fails(vault: Vault, live: Path) -> None:
    vault.backup()
    exchange(vault)
    shutil.rmtree(live)
    with pytest.raises(RefusedError):
        vault.backup("models", "database")
    assert vault.repositories["primary"].snapshots() == ()


def test_an_adopted_repository_is_written_to(vault: Vault, live: Path) -> None:
    vault.backup()
    exchange(vault)
    vault.memory.forget_repository(PLAN, "primary")
    result, _ = vault.backup()
    assert result.verdict is Verdict.PROVEN
    assert vault.memory.last_run(PLAN).repositories["primary"] == OTHER_IDENTITY


def test_each_repository_gets_everything(vault: Vault, live: Path, tmp_path: Path) -> None:
    vault.add_repository("second")
    result, manifest = vault.backup()
    assert result.verdict is Verdict.PROVEN
    assert {r.name for r in result.repositories} == {"primary", "second"}
    del vault.repositories["primary"]
    assert vault.restore(tmp_path / "restored", manifest.id).verdict is Verdict.PROVEN


def test_a_broken_repository_does_not_stop_the_other(
    vault: Vault, live: Path, tmp_path: Path
) -> None:
    vault.add_repository("second")
    shutil.rmtree(vault.place("second"))
    result, manifest = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    verdicts = {found.name: found.verdict for found in result.repositories}
    assert verdicts == {"primary": Verdict.PROVEN, "second": Verdict.UNPROVEN}
    assert [source.verdict for source in manifest.sources] == [Verdict.PROVEN] * 2
    assert vault.restore(tmp_path / "restored", manifest.id).verdict is Verdict.PROVEN


def test_an_exchanged_repository_does_not_stop_the_other(vault: Vault, live: Path) -> None:
    vault.add_repository("second")
    vault.backup()
    exchange(vault)
    result, manifest = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    reasons = {found.name: found.reason for found in result.repositories}
    assert "it is not the one used so far" in reasons["primary"]
    assert reasons["second"] == "the manifest is stored"
    assert vault.repositories["primary"].snapshots() == ()
    assert manifest.source("models").snapshots.keys() == {"second"}


def test_a_repository_that_breaks_meanwhile_is_unproven(vault: Vault, live: Path) -> None:
    vault.add_repository("second")
    vault.add(StreamSource("database", [b"1", lambda: shutil.rmtree(vault.place("second")), b"2"]))
    result, manifest = vault.backup("models", "database")
    assert result.verdict is Verdict.UNPROVEN
    assert manifest.source("database").verdict is Verdict.UNPROVEN
    assert manifest.source("database").snapshots.keys() == {"primary"}
    assert [r.verdict for r in result.repositories] == [Verdict.PROVEN, Verdict.UNPROVEN]


def test_a_stream_that_fails_leaves_no_snapshot(vault: Vault, live: Path) -> None:
    def fail() -> None:
        raise UnavailableError("pg_dump", "died of a signal")

    vault.add(StreamSource("database", [b"half", fail]))
    result, manifest = vault.backup()
    assert result.verdict is Verdict.UNPROVEN
    assert "died of a signal" in manifest.source("database").reason
    tags = ("llmvault:source=database",)
    assert vault.repositories["primary"].snapshots(tags) == ()


def test_restic_does_not_fill_its_output_while_a_stream_is_written(vault: Vault) -> None:
    """Nobody reads it meanwhile; a full pipe would stop restic for ever."""
    repository = vault.repositories["primary"]
    with repository.open_stream("x", BackupOptions(HOST, ("llmvault:test",))) as stream:
        for _ in range(8):
            stream.write(bytes(1000))
            time.sleep(0.1)
        stream.process.close_stdin()
        lines = list(stream.process.lines())
    assert len(lines) == 1
    assert '"message_type":"summary"' in lines[0]


def test_two_backups_of_one_plan_exclude_each_other(vault: Vault, live: Path) -> None:
    def second() -> None:
        with pytest.raises(UnavailableError, match=f"process {os.getpid()} is already at it"):
            vault.backup()

    vault.add(FolderSource("models", live, during=second))
    assert vault.backup()[0].verdict is Verdict.PROVEN


def test_two_plans_run_at_once(vault: Vault, live: Path) -> None:
    """The other one starts and ends while the first has its lists in its staging directory."""

    def other() -> None:
        assert vault.backup("database", plan="weekly")[0].verdict is Verdict.PROVEN

    vault.add(FolderSource("models", live, exclude=("a",), during=other))
    assert vault.backup()[0].verdict is Verdict.PROVEN
    assert not list(vault.state.glob("staging/*/*"))


def test_several_repositories_share_the_list_of_exclusions(vault: Vault, live: Path) -> None:
    for number in range(4):
        vault.add_repository(f"r{number}")
    vault.add(FolderSource("models", live, exclude=("a",)))
    assert vault.backup("models")[0].verdict is Verdict.PROVEN


def store_torn(vault: Vault, data: bytes, point: str) -> None:
    """Store a manifest that was cut short, as a killed backup may."""
    tags = ("llmvault:manifest", f"llmvault:plan={PLAN}", f"llmvault:recovery-point={point}")
    repository = vault.repositories["primary"]
    with repository.open_stream(FILENAME, BackupOptions(HOST, tags)) as stream:
        stream.write(data)
        stream.finish()


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_torn_manifest_is_passed_over(vault: Vault, live: Path, kept: float) -> None:
    _, manifest = vault.backup()
    data = encode(manifest)
    store_torn(vault, data[: int(len(data) * kept)], "rp-torn")
    repository = vault.repositories["primary"]
    assert find_manifest([repository], "latest")[0].id == manifest.id
    assert [found.id for found in whole_manifests(repository, ())] == [manifest.id]
    with pytest.raises(TornManifestError):
        load_manifest(repository, stored_points(repository)["rp-torn"])
    with pytest.raises(UnavailableError, match="rp-torn: it is cut short"):
        find_manifest([repository], "rp-torn")


KILLED = """
import sys, time
from pathlib import Path
from tests.fakes.sources import FolderSource, StreamSource
from tests.vault import Vault
vault = Vault(Path(sys.argv[1]))
vault.add_repository()
def stop():
    (vault.base / "reached").touch()
    time.sleep(60)
vault.add(FolderSource("models", Path(sys.argv[2])), StreamSource("database", [b"half", stop]))
vault.backup()
"""


def test_after_kill_9_the_next_backup_is_clean(vault: Vault, live: Path) -> None:
    program = [sys.executable, "-c", KILLED, str(vault.base), str(live)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(program, cwd=root, start_new_session=True) as process:
        give_up = time.monotonic() + 30
        while not (vault.base / "reached").exists():
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert list(vault.state.glob("staging/*/*")), "what the dead run left"
    assert nothing_was_taken(vault)
    result, manifest = vault.backup()
    assert result.verdict is Verdict.PROVEN
    assert not list(vault.state.glob("staging/*/*"))
    assert [m.id for m in whole_manifests(vault.repositories["primary"], ())] == [manifest.id]
    # a restic that ends while it makes its lock may leave it: maintenance removes such locks
    vault.restic("check", "--no-lock")
