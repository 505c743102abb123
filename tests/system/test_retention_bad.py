"""Retention where things go wrong: worlds that change, bad approvals, deaths, other programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.quick_repository import PASSWORD
from tests.fakes.snapshots import point_id, point_snapshots, write_snapshots
from tests.system.deployment import Completed, Deployment, command_line
from tests.system.history import NOON, History, add_bulk, decisions, make_history

pytestmark = pytest.mark.system

NOBODY_BY_DATE = "retention: {standard: {accept_newer: true}}"


@pytest.fixture(scope="module")
def made(small: Deployment, tmp_path_factory: pytest.TempPathFactory) -> History:
    return make_history(small.copy(tmp_path_factory.mktemp("history") / "base"))


@pytest.fixture
def history(made: History, tmp_path: Path) -> History:
    return made.copy(tmp_path / "base")


def going(history: History) -> list[str]:
    """Return what a plan would delete now."""
    return [one for one, action in history.actions().items() if action == "delete"]


def refused(history: History, digest: str) -> str:
    """Apply a plan that must be refused with nothing deleted; return the cause."""
    before = history.left()
    done = history.run("retention", "apply", digest)
    assert done.exit_code == 4, done
    assert history.left() == before
    assert history.kinds()[-1] in ("retention.refused", "approval.given", "approval.requested")
    return str(done.error["cause"])


def test_a_hold_between_plan_and_apply(history: History) -> None:
    digest = history.approved()
    victim = going(history)[0]
    hold = history.run(
        *("hold", "add", "--recovery-point", victim, "--matter", "case 9", "--why", "subpoena")
    )
    assert hold.exit_code == 0, hold
    cause = refused(history, digest)
    assert victim in cause
    assert "case 9" in cause
    assert victim not in going(history)


def test_a_world_that_changed(history: History, tmp_path: Path) -> None:
    digest = history.approved()

    newer = history.copy(tmp_path / "newer")
    fresh = newer.add_point(datetime.now(UTC) - timedelta(minutes=1))
    assert f"{fresh} is new" in refused(newer, digest)

    gone = history.copy(tmp_path / "gone")
    victim = going(gone)[0]
    tag = f"llmvault:recovery-point={victim}"
    raw = json.loads(gone.deployment.restic("snapshots", "--json", "--tag", tag).stdout)
    assert gone.deployment.restic("forget", raw[0]["id"]).returncode == 0
    assert f"{victim} no longer has the same snapshots" in refused(gone, digest)
    assert gone.deployment.restic("forget", *(one["id"] for one in raw[1:])).returncode == 0
    assert f"{victim} is gone: somebody else deleted it" in refused(gone, digest)

    rules = history.copy(tmp_path / "rules")
    rules.deployment.override("retention: {standard: {keep: {last: 3}}}", name="zz")
    assert 'the rules of class "standard" have changed' in refused(rules, digest)


def test_newer_points_where_the_policy_accepts_them(history: History) -> None:
    history.deployment.override(NOBODY_BY_DATE, name="zz")
    digest = history.approved()
    victims = going(history)
    fresh = history.add_point(datetime.now(UTC) - timedelta(minutes=1))
    back_dated = NOON - timedelta(days=2, minutes=7)
    done = history.run("retention", "apply", digest)
    assert done.exit_code == 0, done
    assert history.left() == {*history.points, fresh} - set(victims)
    digest = history.approved()
    older = history.add_point(back_dated, number=55)
    assert f"{older} is new" in refused(history, digest)


def test_a_drill_since_then_protects(history: History) -> None:
    digest = history.approved()
    victim = going(history)[-1]
    history.drilled(victim)
    assert "the last one that a drill proved" in refused(history, digest)


def test_approvals_that_do_not_count(history: History) -> None:
    digest = history.request("--as", "ada")
    own = history.approve(digest, "ada")
    assert own.exit_code == 4
    assert "who asks may not approve" in own.error["cause"]
    role = history.approve(digest, "bert")
    assert role.exit_code == 4
    assert "none of the roles owner" in role.error["cause"]
    stranger = history.deployment.base / "keys" / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    unknown = history.run("approve", digest, "--key", str(stranger))
    assert unknown.exit_code == 4
    assert "nobody's key" in unknown.error["cause"]
    assert "0 of 1 have approved" in refused(history, digest)
    nothing = history.run("approve", "0" * 64, "--key", str(history.key("carl")))
    assert nothing.exit_code == 2
    assert "nobody asked" in nothing.error["cause"]


def approvals(history: History, digest: str) -> Path:
    """Return the folder of a digest's approvals."""
    return history.state / "access" / "approvals" / digest


def test_a_tampered_approval(history: History) -> None:
    digest = history.request()
    assert history.approve(digest).exit_code == 0
    (file,) = approvals(history, digest).iterdir()
    good = json.loads(file.read_text())

    longer = json.loads(good["statement"])
    longer["expires"] = "2099-01-01T00:00:00.000Z"
    text = json.dumps(longer, separators=(",", ":"), sort_keys=True)
    file.write_text(json.dumps(good | {"statement": text}))
    assert "its signature is not good" in refused(history, digest)

    file.write_text(json.dumps(good | {"statement": text[:-1]}))
    assert "cannot be read" in refused(history, digest)

    file.write_text(json.dumps(good | {"signature": good["signature"][:80]}))
    assert "not in the documented form" in refused(history, digest)

    other = history.state / "access" / "approvals" / digest / "carl.json"
    file.write_text(json.dumps(good))
    file.rename(other)
    assert history.run("retention", "apply", digest).exit_code == 0, (
        "the name of a file says nothing"
    )


def test_an_approval_of_another_plan(history: History) -> None:
    digest = history.request()
    assert history.approve(digest).exit_code == 0
    history.add_point(datetime.now(UTC) - timedelta(minutes=1))
    second = history.request()
    assert second != digest
    (file,) = approvals(history, digest).iterdir()
    approvals(history, second).mkdir(parents=True)
    (approvals(history, second) / "ada.json").write_bytes(file.read_bytes())
    assert "it approves another plan" in refused(history, second)


def test_an_approval_that_expired(history: History) -> None:
    history.deployment.override("approvals: {retention: {valid_for: 0.001s}}", name="zz")
    digest = history.request()
    late = history.approve(digest)
    assert late.exit_code == 4
    assert "it expired" in late.error["cause"]
    history.deployment.override("approvals: {retention: {valid_for: 1h}}", name="zz")
    assert history.approve(digest).exit_code == 0
    history.deployment.override("approvals: {retention: {valid_for: 0.001s}}", name="zz")
    assert "it expired" in refused(history, digest)


def test_a_person_who_left(history: History) -> None:
    digest = history.approved()
    carl = (history.deployment.base / "keys" / "carl.pub").read_text().strip()
    history.deployment.override(f'people: {{ada: {{keys: ["{carl}"]}}}}', name="zz")
    assert "its key is not one of the person's keys" in refused(history, digest)


def test_a_signature_made_by_hand(history: History) -> None:
    digest = history.request()
    file = history.deployment.base / "statement"
    written = history.run("approve", digest, "--write", str(file), "--as", "carl")
    assert written.exit_code == 0, written
    argv = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(history.key("carl"))]
    subprocess.run([*argv, "-n", written.document["namespace"], str(file)], check=True)
    given = history.run("approve", digest, "--statement", str(file), "--signature", f"{file}.sig")
    assert (given.exit_code, given.document["missing"]) == (0, 0), given
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    subprocess.run([*argv, "-n", "git", str(other)], check=True)
    wrong = history.run("approve", digest, "--statement", str(other), "--signature", f"{other}.sig")
    assert wrong.exit_code == 4
    assert "signature is not good" in wrong.error["cause"]


def test_a_plan_that_was_altered(history: History) -> None:
    digest = history.approved()
    file = history.state / "retention" / "plans" / f"{digest}.json"
    file.write_text(file.read_text().replace('"keep"', '"delete"'))
    before = history.left()
    done = history.run("retention", "apply", digest)
    assert done.exit_code == 1
    assert "it was altered" in done.error["cause"]
    assert history.left() == before


def test_clocks_that_are_off(history: History, tmp_path: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=3)
    ahead = history.add_point(future, number=70)
    lying = NOON - timedelta(days=40)
    identity = point_id(NOON - timedelta(days=2, hours=3), 71)
    write_snapshots(
        history.deployment.repository,
        point_snapshots(identity, lying, tree=history.tree()),
    )
    done = history.run("retention", "plan")
    assert done.exit_code == 0, done
    found = {point["id"]: point for point in decisions(done)}
    for point in (ahead, identity):
        assert found[point]["action"] == "keep"
        assert [reason["rule"] for reason in found[point]["reasons"]] == ["clock"]
    newest = [found[one]["action"] for one in history.points[-2:]]
    assert newest == ["keep", "keep"], "a point from the future displaces no other"

    digest = history.request()
    request = history.state / "access" / "requests" / f"{digest}.json"
    raw = json.loads(request.read_text())
    raw["asked"][0]["at"] = "2999-01-01T00:00:00.000Z"
    request.write_text(json.dumps(raw))
    assert history.approve(digest).exit_code == 0
    cause = refused_clock(history, digest)
    assert "before the plan was asked for" in cause


def refused_clock(history: History, digest: str) -> str:
    done = history.run("retention", "apply", digest)
    assert done.exit_code == 4
    return str(done.error["cause"])


def test_backups_without_a_manifest(history: History) -> None:
    tree = history.tree()
    running, dead = datetime.now(UTC) - timedelta(hours=2), NOON - timedelta(days=30)
    for number, when in ((80, running), (81, dead)):
        write_snapshots(
            history.deployment.repository,
            point_snapshots(point_id(when, number), when, manifest=False, tree=tree),
        )
    found = {point["id"]: point for point in decisions(history.run("retention", "plan"))}
    assert found[point_id(running, 80)]["action"] == "keep"
    assert "may still be running" in found[point_id(running, 80)]["reasons"][0]["text"]
    assert found[point_id(dead, 81)]["action"] == "delete"
    assert found[point_id(dead, 81)]["reasons"][0]["rule"] == "dead"


def locks(history: History) -> list[str]:
    """Return the locks in the repository."""
    return [path.name for path in (history.deployment.repository / "locks").iterdir()]


def test_plain_restic_at_work_on_the_same_repository(history: History) -> None:
    digest = history.approved()
    victims = set(going(history))
    argv = ["restic", "backup", "--stdin", "--stdin-filename", "slow", "--host", "elsewhere"]
    variables = {
        "RESTIC_REPOSITORY": str(history.deployment.repository),
        "RESTIC_PASSWORD": PASSWORD,
    }
    plain = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=history.deployment.variables(variables),
    )
    try:
        while not locks(history):
            assert plain.poll() is None
            time.sleep(0.01)
        done = history.run("retention", "apply", digest)
        assert done.exit_code == 5, done
        assert "another process holds a lock" in done.error["cause"]
        assert history.left() == set(history.points)
        assert history.kinds()[-1] == "retention.failed"
    finally:
        assert plain.stdin is not None
        plain.stdin.write(b"something")
        plain.stdin.close()
        assert plain.wait(20) == 0
    done = history.run("retention", "apply", digest)
    assert (done.exit_code, done.document["resumed"]) == (0, True), done
    assert history.left() == set(history.points) - victims
    assert "slow" in history.deployment.restic("ls", "latest", "--host", "elsewhere").stdout


def test_two_at_once(history: History) -> None:
    digest = history.approved()
    both = [history.deployment.start("retention", "apply", digest) for _ in range(2)]
    codes = sorted(process.wait(60) for process in both)
    assert codes[0] == 0
    assert codes[1] in (4, 5)
    assert history.kinds().count("retention.applied") == 1


def test_another_installation_at_work_on_the_same_repository(
    history: History, tmp_path: Path
) -> None:
    other = history.copy(tmp_path / "other")
    for one in (history, other):
        one.deployment.override(NOBODY_BY_DATE, name="zz")
    address = f"repositories: {{primary: {{url: {history.deployment.repository}}}}}"
    other.deployment.override(address, name="zz-shared")
    victims = set(going(history))
    plans = [(one, one.approved()) for one in (history, other)]
    assert set(going(other)) == victims, "both see the same recovery points"

    both = [one.deployment.start("retention", "apply", digest) for one, digest in plans]
    backup = other.deployment.start("backup")
    codes = [process.wait(120) for process in (*both, backup)]
    assert set(codes) <= {0, 4, 5}, codes
    assert 0 in codes[:2] or 5 in codes[:2], codes
    for one, digest in plans:
        done = one.run("retention", "apply", digest)
        assert done.exit_code in (0, 4), done  # done, or somebody else had done it
    again = other.run("backup")
    assert (again.exit_code, again.document["verdict"]) == (0, "proven"), again
    left = history.left()
    assert again.document["recovery_point"] in left
    assert set(history.points) - victims <= left
    assert not victims & left
    assert sound(history)


def kill_when(process: subprocess.Popen[bytes], history: History, kind: str, wait: float) -> None:
    """Kill a process some time after the ledger has an entry of a kind."""
    while process.poll() is None and kind not in history.kinds():
        time.sleep(0.005)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.wait()
    history.deployment.wait_until_still()
    wait_until_reaped()


def wait_until_reaped(seconds: float = 60) -> None:
    """Wait until no restic that has ended is left to be reaped: restic takes it for a live one."""
    give_up = time.monotonic() + seconds
    while _unreaped():
        assert time.monotonic() < give_up, "nobody reaps the processes that a dead one started"
        time.sleep(0.05)


def _unreaped() -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        if name.endswith("(restic") and rest.split()[0] == "Z":
            return True
    return False


def sound(history: History) -> bool:
    """Return whether restic finds nothing wrong."""
    return "no errors were found" in history.deployment.restic("check").stdout


@pytest.mark.parametrize("hundredths", [0, 35, 70])
def test_killed_in_the_middle(history: History, hundredths: int) -> None:
    (history.deployment.base / "bulk").write_bytes(os.urandom(1 << 20))
    digest = history.approved()
    victims = set(going(history))
    process = history.deployment.start("retention", "apply", digest)
    kill_when(process, history, "retention.started", hundredths / 100)
    died = "retention.applied" not in history.kinds()
    done = history.run("retention", "apply", digest)
    if died:
        assert done.exit_code == 0, done
        assert done.document["verdict"] == "proven"
        assert {one["recovery_point"] for one in done.document["deleted"]} == victims
    else:
        assert done.exit_code in (0, 4)
    assert history.left() == set(history.points) - victims
    assert history.kinds()[-1] == "retention.applied"
    assert sound(history)
    told = history.run("retention", "show", "standard").document["deleted"]
    assert {one["recovery_point"] for one in told} == victims
    listed = history.run("recovery-points", "list").document["recovery_points"]
    assert {one["id"] for one in listed} == set(history.points) - victims


def test_killed_in_the_middle_of_prune(history: History) -> None:
    for number in range(6):
        add_bulk(history, 4 << 20, NOON - timedelta(days=10 + number))
    digest = history.approved()
    victims, before = set(going(history)), history.left()
    process = history.deployment.start("retention", "apply", digest)
    while process.poll() is None and not pruning(history):
        time.sleep(0.002)
    assert process.poll() is None, "it ended before it was seen to prune"
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pid in pruning(history):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    history.deployment.wait_until_still()
    wait_until_reaped()
    assert history.left() == before - victims, "forgotten, and not yet pruned"
    assert "retention.applied" not in history.kinds()
    done = history.run("retention", "apply", digest)
    assert (done.exit_code, done.document["resumed"]) == (0, True), done
    assert {one["recovery_point"] for one in done.document["deleted"]} == victims
    assert sound(history)


def pruning(history: History) -> set[int]:
    """Return the processes of restic that prune."""
    return {
        pid
        for pid in history.deployment.processes()
        if "restic" in (line := command_line(pid)) and " prune" in line
    }


def half_done(history: History) -> tuple[str, str]:
    """Apply a plan half, as when it died after its first deletion; return digest and the other."""
    digest = history.approved()
    first, other, *_ = going(history)
    plan = json.loads((history.state / "retention" / "plans" / f"{digest}.json").read_text())
    run = {"digest": digest, "state": "started", "began": "2026-01-01T00:00:00.000Z", "freed": {}}
    runs = history.state / "retention" / "runs"
    runs.mkdir()
    (runs / f"{digest}.json").write_text(json.dumps(run))
    (points,) = [one["recovery_points"] for one in plan["classes"][0]["repositories"]]
    ids = next(list(point["snapshots"]) for point in points if point["id"] == first)
    assert history.deployment.restic("forget", *ids).returncode == 0
    return digest, other


def test_a_hold_between_death_and_resumption(history: History) -> None:
    digest, other = half_done(history)
    hold = ("hold", "add", "--recovery-point", other, "--matter", "case 3", "--why", "subpoena")
    assert history.run(*hold).exit_code == 0
    done = history.run("retention", "apply", digest)
    assert done.exit_code == 4, done
    assert "case 3" in done.error["cause"]
    assert other in history.left()
    entry = history.ledger()[-1]
    assert entry["kind"] == "retention.stopped"
    assert len(entry["facts"]["deleted"]) == 1
    again = history.run("retention", "apply", digest)
    assert again.exit_code == 4
    assert "stopped for good" in again.error["cause"]
    assert history.run("retention", "apply", history.approved()).exit_code == 0


def test_resumption_goes_on(history: History) -> None:
    digest, other = half_done(history)
    history.add_point(datetime.now(UTC) - timedelta(minutes=1))
    done = history.run("retention", "apply", digest)
    assert (done.exit_code, done.document["resumed"]) == (0, True), done
    assert other not in history.left()


def test_a_ledger_that_cannot_be_written(history: History) -> None:
    digest = history.approved()
    ledger = history.state / "ledger"
    ledger.rename(ledger.with_suffix(".away"))
    ledger.write_bytes(b"")
    done = history.run("retention", "apply", digest)
    assert done.exit_code == 5, done
    assert history.left() == set(history.points)


def hold_released(history: History, identity: str) -> Completed:
    """Try to release a hold."""
    return history.run("hold", "release", identity, "--as", "bert")


def test_a_hold_is_released_only_by_approval(history: History) -> None:
    victim = going(history)[0]
    placed = history.run(
        *("hold", "add", "--source", "model", "--matter", "audit", "--why", "asked by the auditor"),
        *("--until", "2020-01-01"),
    )
    identity = placed.document["id"]
    assert going(history) == [], "a hold goes on after its date"
    first = hold_released(history, identity)
    assert first.exit_code == 4
    assert "0 of 2 have approved" in first.error["cause"]
    digest = first.error["next_step"].split()[-1]
    assert history.approve(digest, "bert").exit_code == 4, "who asks may not approve"
    assert history.approve(digest, "ada").document["missing"] == 1
    assert hold_released(history, identity).exit_code == 4
    assert history.approve(digest, "carl").document["missing"] == 0
    released = hold_released(history, identity)
    assert released.exit_code == 0, released
    assert {one["by"] for one in released.document["release"]["approvals"]} == {"ada", "carl"}
    assert victim in going(history)
    assert history.run("hold", "list").document["holds"] == []
    (kept,) = history.run("hold", "list", "--all").document["holds"]
    assert kept["release"]["by"] == "bert"
    assert hold_released(history, identity).exit_code == 2
    assert history.kinds()[-2:] == ["hold.releasing", "hold.released"]


def test_holds_survive_the_loss_of_the_catalog_and_of_the_files(history: History) -> None:
    hold = ("hold", "add", "--subject", "a3f09c55e1d24b7790aa", "--matter", "m", "--why", "w")
    identity = history.run(*hold).document["id"]
    assert going(history) == [], "configuration may hold something of a person"
    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        (history.state / name).unlink(missing_ok=True)
    assert [one["id"] for one in history.run("hold", "list").document["holds"]] == [identity]
    (history.state / "holds" / f"{identity}.json").unlink()
    assert [one["id"] for one in history.run("hold", "list").document["holds"]] == [identity]
    (history.state / "holds" / f"{identity}.json").write_text("{torn")
    done = history.run("retention", "plan")
    assert done.exit_code == 1, "who cannot read a hold deletes nothing"


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--subject", "jane@example.org"], "by its handle"),
        (["--recovery-point", "rp-1"], "not known"),
        (["--source", "modle"], "neither the policy"),
        (["--logs", "2026-02-01..2026-03-01", "--in-source", "modle"], "neither the policy"),
        (["--source", "model", "--in-source", "configs"], "only logs are looked for"),
        (["--logs", "2026-02-31..2026-03-01"], "no range of days"),
        (["--logs", "2026-03-02..2026-03-01"], "no range of days"),
        ([], "0 things are named"),
        (["--source", "model", "--logs", "2026-01-01..2026-01-02"], "2 things are named"),
    ],
)
def test_holds_on_what_is_not_there(made: History, arguments: list[str], cause: str) -> None:
    done = made.run("hold", "add", "--matter", "m", "--why", "w", *arguments)
    assert done.exit_code == 2, done
    assert cause in done.error["cause"]
