"""Retention as people use it: a plan with reasons, approval, that deleted, and an account."""

from __future__ import annotations

import csv
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from llmvault.app import build_app
from llmvault.app.retention import recover_retention
from llmvault.ledger.files import LedgerFiles
from tests.fakes.quick_repository import PASSWORD
from tests.fakes.snapshots import point_id, point_snapshots, write_snapshots
from tests.system.deployment import Deployment
from tests.system.history import NOON, RULES, History, add_bulk, decisions, make_history

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def made(small: Deployment, tmp_path_factory: pytest.TempPathFactory) -> History:
    return make_history(small.copy(tmp_path_factory.mktemp("history") / "base"))


@pytest.fixture
def history(made: History, tmp_path: Path) -> History:
    return made.copy(tmp_path / "base")


def reasons(history: History) -> dict[str, str]:
    """Return recovery point -> the rules that a plan gives for it."""
    return {
        point["id"]: " ".join(reason["rule"] for reason in point["reasons"])
        for point in decisions(history.run("retention", "plan"))
    }


def test_a_plan_is_approved_and_applied_exactly(history: History) -> None:
    plan = history.run("retention", "plan")
    assert plan.exit_code == 0, plan
    planned = {point["id"]: point["action"] for point in decisions(plan)}
    assert set(planned) == set(history.points)
    assert all(point["reasons"] for point in decisions(plan))
    assert [planned[one] for one in history.points[-2:]] == ["keep", "keep"]
    going = {one for one, action in planned.items() if action == "delete"}
    assert going
    assert history.left() == set(history.points), "a plan deletes nothing"

    digest = history.request()
    assert digest == plan.document["digest"], "the same world, the same plan"
    early = history.run("retention", "apply", digest)
    assert early.exit_code == 4, early
    assert "0 of 1 have approved" in early.error["cause"]
    assert history.left() == set(history.points)

    assert history.approve(digest).document["missing"] == 0
    done = history.run("retention", "apply", digest)
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    assert {one["recovery_point"] for one in done.document["deleted"]} == going
    assert history.left() == set(history.points) - going
    assert done.document["approved_by"] == ["ada"]
    assert "no errors were found" in history.deployment.restic("check").stdout

    kinds = history.kinds()
    assert kinds == [
        *("key.made", "policy.changed"),
        *("approval.requested", "approval.given", "retention.started", "retention.applied"),
    ]
    started = history.ledger()[4]["facts"]
    assert {one["recovery_point"] for one in started["recovery_points"]} == going
    assert all(one["why"] for one in started["recovery_points"])

    listed = history.run("recovery-points", "list").document["recovery_points"]
    assert {one["id"] for one in listed} == set(history.points) - going
    again = history.run("retention", "apply", digest)
    assert again.exit_code == 4
    assert "it has been applied" in again.error["cause"]
    assert set(history.actions().values()) == {"keep"}


def test_a_class_gives_account(history: History) -> None:
    hold = history.run(
        *("hold", "add", "--recovery-point", history.points[1]),
        *("--matter", "case 7", "--why", "asked for by the court"),
    )
    assert hold.exit_code == 0, hold
    digest = history.approved()
    assert history.run("retention", "apply", digest[:12]).exit_code == 0
    table, page = history.deployment.base / "a.csv", history.deployment.base / "a.html"
    show = history.run("retention", "show", "standard", "--csv", str(table), "--html", str(page))
    assert show.exit_code == 0, show
    told = show.document
    assert told["basis"] == "the example's policy, section 1"
    assert told["kept_how_long"].startswith("the last 2, 2 monthly")
    assert told["deleted"]
    for one in told["deleted"]:
        assert one["why"] == "no rule keeps it"
        assert one["approved_by"] == ["ada"]
        assert one["plan"] == digest
    held = {one["recovery_point"]: one for one in told["could_not_be_deleted"]}
    assert "case 7" in held[history.points[1]]["why"]
    assert held[history.points[1]]["until"] is None
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [row["recovery_point"] for row in rows]
    copies = [one for one in names if one.startswith("installation-")]
    assert copies, "holding and applying made copies of the installation"
    assert sorted(names) == sorted([*history.points, *copies])
    assert {row["state"] for row in rows} >= {"deleted", "kept", "could not be deleted"}
    assert "section 1" in page.read_text()
    people = history.deployment.run("retention", "show", "standard")
    assert "case 7" in people.stdout


def test_everything_comes_back_from_the_ledger_alone(history: History) -> None:
    hold = ("hold", "add", "--source", "configs", "--matter", "case 7", "--why", "asked for")
    held = history.run(*hold).document["id"]
    other = ("hold", "add", "--recovery-point", history.points[0], "--matter", "m", "--why", "w")
    history.run(*other)
    release = history.run("hold", "release", held, "--as", "bert")
    for person in ("ada", "carl"):
        history.approve(release.error["next_step"].split()[-1], person)
    assert history.run("hold", "release", held, "--as", "bert").exit_code == 0
    applied = history.approved()
    assert history.run("retention", "apply", applied).exit_code == 0
    history.add_point(datetime.now(UTC) - timedelta(minutes=1))
    waiting = history.approved()
    asked = ("hold", "list", "--all"), ("retention", "show", "standard"), ("approve", waiting)
    before = [history.run(*one).document for one in asked]

    for name in ("holds", "access", "retention"):
        shutil.rmtree(history.state / name)
    for file in history.state.glob("catalog.sqlite*"):
        file.unlink()
    app = build_app(policies=history.deployment.policies, state=history.state)
    entries = list(LedgerFiles(history.state / "ledger").entries())
    for _ in range(2):
        done = recover_retention(app, entries)
    assert (done.holds, done.requests, done.approvals) == (2, 3, 4)
    assert done.deletions == len(before[1]["deleted"])
    assert history.run("retention", "apply", applied).exit_code in (2, 4)

    after = [history.run(*one).document for one in asked]
    assert without(after[0], "at") == without(before[0], "at")
    assert [without(one, "deleted") for one in after[1]["deleted"]] == [
        without(one, "deleted") for one in before[1]["deleted"]
    ]
    assert (after[2]["missing"], len(after[2]["approvals"])) == (0, 1)


def without(document: object, name: str) -> object:
    """Return a document without a field, at any depth: entries are written a moment later."""
    if isinstance(document, dict):
        return {key: without(value, name) for key, value in document.items() if key != name}
    if isinstance(document, list):
        return [without(one, name) for one in document]
    return document


def test_bytes_are_estimated_and_freed(history: History) -> None:
    bulk = add_bulk(history, 3 << 20, NOON - timedelta(days=3, minutes=1))
    plan = history.run("retention", "plan")
    (found,) = [point for point in decisions(plan) if point["id"] == bulk]
    assert found["action"] == "delete"
    assert found["bytes_added"] > 3 << 20
    assert plan.document["bytes_freed_estimate"] > 3 << 20
    assert found["gone_not_before"] == "when applied"
    done = history.run("retention", "apply", history.approved())
    assert done.document["bytes_freed"]["primary"] > 2.9 * (1 << 20), done


def test_a_drilled_point_outranks_a_newer_unproven_one(history: History) -> None:
    oldest = history.points[0]
    assert history.actions()[oldest] == "delete" or "monthly" in reasons(history)[oldest]
    history.drilled(oldest)
    assert "last-proven" in reasons(history)[oldest]
    history.drilled(history.points[1])
    assert "last-proven" in reasons(history)[history.points[1]]


def test_every_reason_is_shown(history: History) -> None:
    tagged = point_id(NOON - timedelta(days=20), 60)
    write_snapshots(
        history.deployment.repository,
        point_snapshots(
            tagged, NOON - timedelta(days=20), tree=history.tree(), tags=("release",), added=500
        ),
    )
    history.deployment.override(
        "retention: {standard: {minimum: 3, keep: {last: 1, monthly: null, tags: [release]}}}", "zz"
    )
    oldest, held, drilled, also, _, newest = history.points
    history.drilled(drilled)
    hold = ("hold", "add", "--recovery-point", held, "--matter", "case 5", "--why", "asked for")
    until = (*hold, "--until", "2099-01-31", "--as", "bert")
    assert history.run(*until).exit_code == 0
    plan = history.run("retention", "plan")
    found = {one["id"]: one for one in decisions(plan)}
    rules = {name: [reason["rule"] for reason in one["reasons"]] for name, one in found.items()}
    assert rules[newest] == ["last"]
    assert rules[tagged] == ["tag"]
    assert rules[drilled] == ["last-proven"]
    assert rules[held] == ["hold"]
    assert sum("minimum" in one for one in rules.values()) == 1
    assert rules[oldest] == rules[also] == ["no-rule"]
    assert found[drilled]["rank"] == "proven by a drill"
    going = [one for one in found.values() if one["action"] == "delete"]
    assert {one["gone_not_before"] for one in going} == {"when applied"}
    assert plan.document["deletes"] == len(going)
    freed = sum(one["bytes_added"] for one in going)
    assert plan.document["bytes_freed_estimate"] == freed > 0

    people = history.deployment.run("retention", "plan").stdout
    for words in (
        *("one that a drill proved", "has the tag release", "one of the 3 that must stay"),
        *("case 5", "no rule keeps it", "when applied", "at least 3 sound ones", "can be gone"),
    ):
        assert words in people, people
    listed = history.deployment.run("hold", "list").stdout
    for words in ("case 5", "asked for", "bert", "2099-01-31", held):
        assert words in listed, listed


def test_a_rule_that_matches_nothing_or_everything_is_an_error(history: History) -> None:
    def planned(keep: str) -> tuple[int, str]:
        history.deployment.override(f"retention: {{standard: {{keep: {keep}}}}}", name="zz-rules")
        done = history.run("retention", "plan")
        return done.exit_code, done.error["cause"]

    nothing = planned("{tags: [release], last: null}")
    assert nothing[0] == 2
    assert "has the tag release: the rule keeps nothing" in nothing[1]
    assert "everything would go" not in planned("{tags: [release]}")[1]
    everything = planned('{tags: ["llmvault:manifest"]}')
    assert everything[0] == 2
    assert "nothing ever goes" in everything[1]
    none = planned("{last: null, monthly: null}")
    assert none[0] == 2
    assert "last: unlimited" in str(history.run("retention", "plan").document)


def day_of(point: str) -> str:
    """Return the day that a recovery point's id names."""
    return f"{point[3:7]}-{point[7:9]}-{point[9:11]}"


def test_a_hold_on_logs_holds_what_may_have_them(history: History) -> None:
    before = history.actions()
    older, _, victim = [one for one, action in before.items() if action == "delete"][-3:]
    logs = ("hold", "add", "--logs", f"{day_of(victim)}..{day_of(victim)}")
    case = ("--matter", "case 11", "--why", "requests of that day are asked for")
    approved = history.approved()
    held = history.run(*logs, *case)
    assert held.exit_code == 0, held
    refused = history.run("retention", "apply", approved)
    assert (refused.exit_code, "case 11" in refused.error["cause"]) == (4, True), refused
    told = {one["id"]: one for one in decisions(history.run("retention", "plan"))}
    assert told[older]["action"] == "delete", "stored before there were logs of that day"
    assert told[victim]["action"] == "keep"
    assert f"on log-range {day_of(victim)}..{day_of(victim)}" in told[victim]["reasons"][0]["text"]
    later = history.points[history.points.index(victim) :]
    assert all("hold" in [r["rule"] for r in told[one]["reasons"]] for one in later)
    assert history.run("retention", "apply", history.approved()).exit_code == 0
    assert {victim, *later} <= history.left()
    assert older not in history.left()


def test_a_hold_on_logs_of_one_source_holds_no_other(history: History) -> None:
    history.deployment.override("sources: {logs: {kind: configs, path: ../live/config}}", "logs")
    before = history.actions()
    days = f"{day_of(history.points[0])}..{day_of(history.points[-1])}"
    placed = ("hold", "add", "--logs", days, "--matter", "case 12", "--why", "asked for")
    narrowed = history.run(*placed, "--in-source", "logs")
    assert (narrowed.exit_code, narrowed.document["in_source"]) == (0, "logs"), narrowed
    assert history.actions() == before, "no recovery point has that source"
    assert history.run(*placed, "--in-source", "configs").exit_code == 0
    assert set(history.actions().values()) == {"keep"}
    assert "log-range" in history.deployment.run("hold", "list").stdout


def copies_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a plan says of copies of the installation."""
    (kept,) = document["plan"]["classes"]
    (repository,) = kept["repositories"]
    assert repository["others"] == 1, "copies of the installation are not somebody else's"
    return list(repository["installation_copies"])


def test_older_copies_of_the_installation_go_and_it_comes_back(history: History) -> None:
    history.deployment.override(
        "retention: {standard: {keep: {last: unlimited}, installation_copies: {last: 2}}}", "zz"
    )
    hold = ("hold", "add", "--recovery-point", history.points[-1], "--why", "asked for")
    for number in range(4):
        assert history.run(*hold, "--matter", f"case {number}").exit_code == 0
    plan = history.run("retention", "plan")
    copies = copies_of(plan.document)
    assert [one["action"] for one in copies] == ["delete", "delete", "keep", "keep"]
    rules = [[reason["rule"] for reason in one["reasons"]] for one in copies]
    assert rules == [["superseded"], ["superseded"], ["last"], ["last", "recovery"]]
    sizes = [one["entries"] for one in copies]
    assert sizes == sorted(set(sizes)), sizes
    people = history.deployment.run("retention", "plan").stdout
    assert "a newer copy has all of its ledger" in people
    assert "the one with most of its ledger" in people

    digest = history.approved()
    assert history.run(*hold, "--matter", "case 4").exit_code == 0, "makes one more, no change"
    done = history.run("retention", "apply", digest)
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    going = {one["id"] for one in copies if one["action"] == "delete"}
    assert {one["recovery_point"] for one in done.document["deleted"]} == going
    assert history.left() == set(history.points)
    told = history.run("retention", "show", "standard").document["deleted"]
    assert {one["recovery_point"] for one in told} == going
    assert not going & {one["id"] for one in copies_of(history.run("retention", "plan").document)}

    place = history.deployment.base / "new"
    back = history.deployment.run(
        *("init", "--recover", "--repository", str(history.deployment.repository)),
        *("--password", "env:PW", "--json"),
        more={
            "PW": PASSWORD,
            "LLMVAULT_STATE": str(place / "state"),
            "LLMVAULT_POLICIES": str(place / "policies"),
        },
    )
    assert back.document["recovered"] is True, back
    assert back.exit_code == 3, "nobody kept a checkpoint elsewhere"
    assert len(list((place / "state" / "holds").iterdir())) == 5


def test_a_class_without_any_point_is_unproven(fresh: Deployment) -> None:
    history = make_history(fresh, count=0)
    done = history.run("retention", "plan")
    assert done.exit_code == 3
    assert "no recovery point in its repositories" in done.error["cause"]


def test_snapshots_of_others_are_left_alone(history: History) -> None:
    digest = history.approved()
    assert history.run("retention", "apply", digest).exit_code == 0
    assert "theirs" in history.deployment.restic("snapshots", "--json").stdout


def test_no_rule_of_approval_means_no_deletion(fresh: Deployment) -> None:
    history = make_history(fresh, rules=RULES.partition("    approvals:")[0])
    plan = history.run("retention", "plan", "--request")
    assert plan.exit_code == 0, plan
    for command in ("approve", "retention apply"):
        done = history.run(*command.split(), plan.document["digest"])
        assert done.exit_code == 4, done
        assert "the policy does not say who approves it" in done.error["cause"]
    assert history.left() == set(history.points)


def test_a_run_by_the_clock_deletes_only_what_was_approved(history: History) -> None:
    asked = history.run("retention", "run")
    assert (asked.exit_code, asked.document["applied"]) == (3, []), asked
    (waits,) = asked.document["classes"]
    digest = waits["waits_for_approval"]
    assert f"llmvault approve {digest}" in waits["detail"]
    assert history.left() == set(history.points), "asking deletes nothing"

    again = history.run("retention", "run", "--class", "standard")
    assert again.exit_code == 3
    assert again.document["classes"][0]["waits_for_approval"] == digest, "nobody is asked twice"
    assert history.kinds().count("approval.requested") == 1
    assert history.left() == set(history.points)

    going = {one for one, action in history.actions().items() if action == "delete"}
    assert history.approve(digest).exit_code == 0
    done = history.run("retention", "run")
    assert (done.exit_code, done.document["verdict"]) == (0, "proven"), done
    (applied,) = done.document["applied"]
    assert applied["digest"] == digest
    assert {one["recovery_point"] for one in applied["deleted"]} == going
    assert history.left() == set(history.points) - going
    quiet = history.run("retention", "run")
    assert (quiet.exit_code, quiet.document["applied"]) == (0, []), quiet


def test_a_run_by_the_clock_does_not_apply_what_no_longer_fits(history: History) -> None:
    digest = history.approved()
    going = next(one for one, action in history.actions().items() if action == "delete")
    hold = history.run(
        *("hold", "add", "--recovery-point", going),
        *("--matter", "case 9", "--why", "asked for by the court"),
    )
    assert hold.exit_code == 0, hold
    done = history.run("retention", "run")
    assert (done.exit_code, done.document["applied"]) == (3, []), done
    (refused,) = done.document["refused"]
    assert refused["digest"] == digest
    assert "case 9" in refused["reason"]
    assert history.left() == set(history.points)
    assert done.document["classes"][0]["waits_for_approval"] not in (None, digest)


def test_a_run_by_the_clock_tells_that_nobody_may_approve(history: History) -> None:
    policy = history.deployment.policies / "overrides.d"
    for file in policy.glob("*.yaml"):
        text = file.read_text()
        if "approvals:" in text:
            file.write_text(text.partition("approvals:")[0])
    done = history.run("retention", "run")
    assert done.exit_code == 3, done
    (told,) = done.document["classes"]
    assert told["waits_for_approval"] is None
    assert "nobody may approve it" in told["detail"]
    assert history.left() == set(history.points)
