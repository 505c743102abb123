"""The machine is lost; its installation comes back from a repository and its password."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.quick_repository import PASSWORD
from tests.system.deployment import Completed, Deployment, make_small

pytestmark = pytest.mark.system


def done(completed: Completed) -> Completed:
    """Return what a command did, which must have exit code 0."""
    assert completed.exit_code == 0, completed
    return completed


def lose(deployment: Deployment) -> None:
    """Lose the machine: all but the repository, and what others keep."""
    shutil.rmtree(deployment.state)
    shutil.rmtree(deployment.policies)
    shutil.rmtree(deployment.live)


def recover(deployment: Deployment, *more: str, repository: str = "") -> Completed:
    """Recover from the repository, with its password in a variable."""
    arguments = ("--repository", repository or str(deployment.repository), "--password", "env:PW")
    return deployment.run("init", "--recover", *arguments, *more, "--json", more={"PW": PASSWORD})


@dataclass(frozen=True)
class Kept:
    """A deployment before the loss, and what was kept outside."""

    deployment: Deployment
    pinned: Path
    ledger: dict[str, Any]

    def lost(self, base: Path) -> Deployment:
        """Return a copy of which only the repository is left."""
        shutil.copytree(self.deployment.repository, base / "repository")
        (base / "secrets").mkdir()
        shutil.copy(self.deployment.base / "secrets" / "password", base / "secrets")
        return Deployment(base)


@pytest.fixture(scope="module")
def kept(backed_up: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A deployment with a drill, a checkpoint, and a recovery point after both."""
    base = tmp_path_factory.mktemp("kept")
    made = backed_up.copy(base / "base")
    done(made.run("drill", "--json"))
    pinned = base / "pinned"
    pinned.write_text(done(made.run("ledger", "checkpoint", "--json")).document["checkpoint"])
    done(made.run("backup", "--json"))
    return Kept(made, pinned, made.run("ledger", "show", "--json").document)


def nothing_in_place(deployment: Deployment) -> bool:
    """Return whether no command would find an installation."""
    state = {path.name for path in deployment.state.iterdir()} - {"locks", "restic-cache"}
    return not state and not deployment.policies.exists()


def verdicts(completed: Completed) -> dict[str, str]:
    """Return check -> verdict."""
    return {check["name"]: check["verdict"] for check in completed.document["checks"]}


def entry_kinds(deployment: Deployment, start: int = 0) -> list[str]:
    """Return what the ledger tells, from an entry on."""
    shown = done(deployment.run("ledger", "show", "--from", str(start), "--json")).document
    return [one["kind"] for one in shown["entries"]]


def test_an_installation_comes_back_proven(kept: Kept, tmp_path: Path) -> None:
    lost = kept.lost(tmp_path / "new")
    told = done(recover(lost, "--pinned", str(kept.pinned))).document
    assert (told["verdict"], told["recovered"]) == ("proven", True)
    assert (told["recovery_points"], told["drills"]) == (2, 1)
    assert (lost.policies / "policy.yaml").read_bytes() == (
        kept.deployment.policies / "policy.yaml"
    ).read_bytes()
    shown = lost.run("ledger", "show", "--json").document["entries"]
    assert kept.ledger["entries"][-1]["kind"] == "backup.finished"
    assert shown[: told["entries"]] == kept.ledger["entries"][:-1], "all but the end of the backup"
    assert [one["kind"] for one in shown[told["entries"] :]] == [
        "key.rotated",
        "installation.recovered",
        "backup.finished",
    ]
    assert shown[-2]["facts"]["checkpoint"].startswith(told["origin"])
    ended = kept.ledger["entries"][-1]["facts"]
    assert {**ended, **shown[-1]["facts"]} == {**ended, "told_by": "manifest"}
    again = done(lost.run("drill", "--json")).document
    assert again["verdict"] == "proven"
    verified = done(lost.run("ledger", "verify", "--pinned", str(kept.pinned), "--json"))
    assert verified.document["verdict"] == "proven"
    assert lost.run("status", "--json").document["plans"][0]["plan"] == "nightly"


def test_a_hold_comes_back(kept: Kept, tmp_path: Path) -> None:
    held = kept.deployment.copy(tmp_path / "held")
    placed = ("--source", "model", "--matter", "case-7", "--why", "asked by the court")
    done(held.run("hold", "add", *placed, "--json"))
    before = done(held.run("hold", "list", "--json")).document
    lost = kept_repository(held, tmp_path)
    assert recover(lost, "--pinned", str(kept.pinned)).document["recovered"] is True
    assert done(lost.run("hold", "list", "--json")).document == before


def test_what_a_drill_told_comes_back(kept: Kept, tmp_path: Path) -> None:
    lost = kept.lost(tmp_path / "new")
    done(recover(lost, "--pinned", str(kept.pinned)))
    reports = {path.name for path in (kept.deployment.state / "reports").iterdir()}
    assert {path.name for path in (lost.state / "reports").iterdir()} == reports
    bundle = tmp_path / "evidence.zip"
    told = lost.run("evidence", "export", "--output", str(bundle), "--json")
    assert told.exit_code == 0, told.document


def test_without_a_pinned_checkpoint_it_is_unproven(point: Deployment) -> None:
    before = point.run("ledger", "show", "--json").document["entries"]
    lose(point)
    told = recover(point)
    assert (told.exit_code, told.document["verdict"]) == (3, "unproven"), told
    assert told.document["recovered"] is True
    assert verdicts(told)["pinned"] == "unproven"
    assert told.document["entries"] == len(before) - 1, "the recovery point itself carried them"
    assert entry_kinds(point, told.document["entries"])[-2] == "installation.recovered"


def test_a_ledger_older_than_the_pinned_one_is_refused(kept: Kept, tmp_path: Path) -> None:
    lost = kept.lost(tmp_path / "new")
    later = kept.deployment.copy(tmp_path / "later")
    done(later.run("init", "--json"))
    pinned = tmp_path / "pinned"
    pinned.write_text(done(later.run("ledger", "checkpoint", "--json")).document["checkpoint"])
    told = recover(lost, "--pinned", str(pinned))
    assert (told.exit_code, told.document["verdict"]) == (1, "failed")
    assert "older one" in told.bad()["pinned", str(pinned)][1]
    assert nothing_in_place(lost)
    done(recover(lost, "--pinned", str(kept.pinned)))


def test_a_forked_ledger_is_refused(kept: Kept, tmp_path: Path) -> None:
    fork = kept.deployment.copy(tmp_path / "fork")
    done(fork.run("init", "--json"))
    pinned = tmp_path / "witness"
    fork.override(f"ledger: {{witnesses: {{others: {{kind: directory, path: {pinned}}}}}}}")
    pinned.mkdir()
    done(fork.run("ledger", "checkpoint", "--json"))
    other = kept.deployment.copy(tmp_path / "other")
    for _ in range(3):
        done(other.run("init", "--json"))
    told = recover(kept_repository(other, tmp_path), "--pinned", str(pinned))
    assert (told.exit_code, told.document["verdict"]) == (1, "failed")
    assert "are not those that were pinned" in told.bad()["pinned", str(pinned)][1]


def kept_repository(deployment: Deployment, base: Path) -> Deployment:
    """Return a deployment of which only the repository is left, in a new folder."""
    shutil.copytree(deployment.repository, base / "only" / "repository")
    return Deployment(base / "only")


def test_another_installations_checkpoint_is_refused(
    kept: Kept, fresh: Deployment, tmp_path: Path
) -> None:
    pinned = tmp_path / "pinned"
    done(fresh.run("init", "--json"))
    pinned.write_text(done(fresh.run("ledger", "checkpoint", "--json")).document["checkpoint"])
    told = recover(kept.lost(tmp_path / "new"), "--pinned", str(pinned))
    assert told.exit_code == 1
    assert "it is of another ledger" in told.bad()["pinned", str(pinned)][1]


def test_several_installations_in_one_repository(kept: Kept, tmp_path: Path) -> None:
    lost = kept.lost(tmp_path / "new")
    other = make_small(tmp_path / "other")
    other.override(f"repositories: {{primary: {{url: {lost.repository}}}}}")
    done(other.run("init", "--json"))
    told = recover(lost)
    assert told.exit_code == 2
    origin = kept.ledger["origin"]
    assert origin in told.error["cause"]
    assert "--origin" in told.error["next_step"]
    done(recover(lost, "--origin", origin, "--pinned", str(kept.pinned)))


def test_nothing_is_recovered_over_what_is_there(point: Deployment) -> None:
    for place in (point.state, point.policies):
        told = recover(point)
        assert told.exit_code == 4
        assert told.error["thing"] == str(place)
        place.rename(place.with_name(f"{place.name}-away"))
    assert recover(point).exit_code == 3


def test_a_wrong_password(kept: Kept, tmp_path: Path) -> None:
    lost = kept.lost(tmp_path / "new")
    address = ("--repository", str(lost.repository))
    wrong = {"PW": "this is not the password"}
    told = lost.run("init", "--recover", *address, "--password", "env:PW", "--json", more=wrong)
    assert told.exit_code == 5
    assert "the password does not open it" in told.error["cause"]
    written = lost.run("init", "--recover", *address, "--password", wrong["PW"], "--json")
    assert written.exit_code == 2
    for one in (told, written):
        assert wrong["PW"] not in one.stdout + one.stderr
    assert nothing_in_place(lost)


def test_a_repository_that_holds_no_installation(fresh: Deployment) -> None:
    shutil.rmtree(fresh.policies)
    told = recover(fresh)
    assert told.exit_code == 5
    assert "it holds no copy of an installation" in told.error["cause"]
    assert recover(fresh, repository=str(fresh.base / "nowhere")).exit_code == 5


def test_options_of_a_recovery_mean_nothing_without_it(fresh: Deployment) -> None:
    assert fresh.run("init", "--pinned", "/x", "--json").exit_code == 2
    assert fresh.run("init", "--recover", "--json").exit_code == 2


def test_an_older_ledger_that_is_copied_later_does_not_win(kept: Kept, tmp_path: Path) -> None:
    cut = kept.deployment.copy(tmp_path / "cut")
    done(cut.run("init", "--json"))
    newest = tmp_path / "newest"
    newest.write_text(done(cut.run("ledger", "checkpoint", "--json")).document["checkpoint"])
    for place in ("ledger", "keys"):
        shutil.rmtree(cut.state / place)
    (cut.state / "installation.json").unlink()
    shutil.copytree(kept.deployment.state / "keys", cut.state / "keys")
    shutil.copytree(kept.deployment.state / "ledger", cut.state / "ledger")
    assert cut.run("ledger", "verify", "--pinned", str(newest), "--json").exit_code == 1
    done(cut.run("ledger", "copy", "--json"))
    told = recover(kept_repository(cut, tmp_path), "--pinned", str(newest))
    assert (told.exit_code, told.document["verdict"]) == (0, "proven"), told


def test_killed_at_any_moment_and_run_again(kept: Kept, tmp_path: Path) -> None:
    lost = kept.lost(tmp_path / "new")
    arguments = ("--repository", str(lost.repository), "--password", "env:PW")
    command = lost.command("init", "--recover", *arguments, "--pinned", str(kept.pinned))
    for tenths in range(4, 24, 2):
        process = subprocess.Popen(
            command,
            env=lost.variables({"PW": PASSWORD}),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(tenths / 10)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        lost.wait_until_still()
    if not lost.policies.exists():
        done(recover(lost, "--pinned", str(kept.pinned)))
    kinds = entry_kinds(lost)
    assert kinds.count("installation.recovered") == kinds.count("key.rotated") == 1
    done(lost.run("ledger", "verify", "--pinned", str(kept.pinned), "--json"))
    assert len(lost.run("recovery-points", "list", "--json").document["recovery_points"]) == 2
    assert not (lost.state / "recovering").exists()


def test_changed_policies_are_entered_once_before_anything_is_done(point: Deployment) -> None:
    start = len(entry_kinds(point))
    point.override("plans: {nightly: {objectives: {rto: 20m}}}")
    point.run("status", "--json")
    assert len(entry_kinds(point)) == start, "looking is no deed"
    done(point.run("init", "--json"))
    done(point.run("init", "--json"))
    found = entry_kinds(point, start)
    assert found == ["policy.changed", *("init.started", "init.finished") * 2]
    shown = point.run("ledger", "show", "--from", str(start), "--json").document["entries"]
    assert len(shown[0]["facts"]["policy"]) == 64
    assert "overrides.d/test.yaml" in shown[0]["facts"]["files"]


def test_a_lost_key_and_a_readable_one(point: Deployment) -> None:
    key = point.state / "keys" / "ledger.key"
    key.chmod(0o644)
    told = point.run("init", "--json")
    assert told.exit_code == 4
    assert "others may read it" in told.error["cause"]
    key.unlink()
    assert point.run("init", "--json").exit_code == 5
    rotated = done(point.run("keys", "rotate", "--json")).document
    assert rotated["signed_over"] is False
    done(point.run("init", "--json"))
    done(point.run("ledger", "verify", "--json"))
