"""Repositories keep the ledger's checkpoints: what is older, cut or rewritten is found by them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.quick_repository import PASSWORD
from tests.system.deployment import Completed, Deployment
from tests.system.history import RULES, add_people
from tests.system.test_recover import done, entry_kinds, nothing_in_place
from tests.vault import OTHER_PASSWORD, write_other_repository

pytestmark = pytest.mark.system

TWO = """
    repositories:
      second: {url: ../../second, password: "file:../../secrets/other"}
    plans: {nightly: {repositories: [primary, second]}}
"""
PLACES = ("repository:primary", "repository:second")


@pytest.fixture(scope="module")
def both(small: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment of two repositories; each has a copy, and a recovery point that carries more."""
    made = small.copy(tmp_path_factory.mktemp("both") / "base")
    write_other_repository(made.base / "second")
    (made.base / "secrets" / "other").write_text(OTHER_PASSWORD)
    made.override(TWO, "two")
    add_people(made, RULES)
    done(made.run("init", "--json"))
    done(made.run("backup", "--json"))
    return made


@pytest.fixture
def two(both: Deployment, tmp_path: Path) -> Deployment:
    """The same, of one's own."""
    return both.copy(tmp_path / "two")


def pinned(completed: Completed) -> dict[str, tuple[str, str]]:
    """Return place -> what the repositories and witnesses say."""
    return {
        one["source"]: (one["verdict"], one["detail"])
        for one in completed.document["checks"]
        if one["name"] == "pinned"
    }


def size(deployment: Deployment) -> int:
    """Return how many entries the ledger has."""
    return int(deployment.run("ledger", "show", "--json").document["size"])


def put_back(deployment: Deployment, other: Deployment) -> None:
    """Put the ledger back to what it is in another copy of the deployment."""
    shutil.rmtree(deployment.state / "ledger")
    shutil.copytree(other.state / "ledger", deployment.state / "ledger")


def test_each_repository_pins_the_ledger_and_is_named(two: Deployment) -> None:
    carried = size(two) - 1  # the recovery point tells all but its own end
    found = done(two.run("ledger", "verify", "--json"))
    for place in PLACES:
        verdict, words = pinned(found)[place]
        assert verdict == "proven"
        assert words.startswith(f"its first {carried} entries are those that were pinned; so")
    told: dict[str, Any] = two.run("status", "--json").document["ledger"]
    assert told["entries"] == told["verified"]["entries"] == carried + 1
    assert told["verified"]["pins"] == [
        {"where": place, "verdict": "proven", "entries": carried} for place in PLACES
    ]
    assert f"repository:second proven ({carried})" in two.run("status").stdout

    offline = two.run("ledger", "verify", "--offline", "--json")
    assert offline.exit_code == 3
    skipped = [pinned(offline)[place] for place in PLACES]
    assert {verdict for verdict, _ in skipped} == {"unproven"}
    assert all("--offline" in words for _, words in skipped)


def test_a_repository_that_is_away_or_empty_is_told(two: Deployment) -> None:
    (two.base / "second").rename(two.base / "away")
    found = two.run("ledger", "verify", "--json")
    assert found.exit_code == 3
    assert pinned(found)["repository:primary"][0] == "proven"
    assert pinned(found)["repository:second"][0] == "unproven"
    write_other_repository(two.base / "second")
    empty = pinned(two.run("ledger", "verify", "--json"))["repository:second"]
    assert (empty[0], "holds no checkpoint of this ledger" in empty[1]) == ("unproven", True)


def test_an_older_ledger_and_one_that_was_rewritten_are_found(
    two: Deployment, tmp_path: Path
) -> None:
    before = two.copy(tmp_path / "before")
    done(two.run("init", "--json"))
    put_back(two, before)
    older = two.run("ledger", "verify", "--json")
    assert older.exit_code == 1
    for place in PLACES:
        assert "cut back or is an older one" in pinned(older)[place][1]
    failed = two.run("status", "--json")
    assert (failed.exit_code, failed.document["verdict"]) == (1, "failed")

    # whoever holds the key writes another history, and copies it over all traces that he can
    for _ in range(2):
        done(two.run("init", "--json"))
    forked = two.run("ledger", "verify", "--json")
    assert forked.exit_code == 1
    for place in PLACES:
        assert "it is forked: its first" in pinned(forked)[place][1]


def test_the_other_repository_proves_what_is_recovered(two: Deployment) -> None:
    stale = shutil.copytree(two.repository, two.base / "stale")
    done(two.run("hold", "add", "--source", "model", "--matter", "m", "--why", "w", "--json"))
    for name in ("state", "policies", "live"):
        shutil.rmtree(two.base / name)

    def recover(repository: Path, *more: str) -> Completed:
        place = ("--repository", str(repository), "--password", "env:PW")
        passwords = {"PW": PASSWORD, "OTHER": OTHER_PASSWORD}
        return two.run("init", "--recover", *place, *more, "--json", more=passwords)

    second = str(two.base / "second")
    named = ("--pinned-repository", second, "--pinned-password", "env:OTHER")
    for more, where in (((), "repository:second"), (named, "repository:pinned-1")):
        refused = recover(stale, *more)
        assert (refused.exit_code, refused.document["recovered"]) == (1, False), refused
        assert "is an older one" in pinned(refused)[where][1]
        assert nothing_in_place(two)

    shutil.rmtree(two.base / "secrets")  # so the policy's own references lead nowhere
    told = done(recover(two.repository, *named)).document
    assert told["verdict"] == "proven"
    assert [one["source"] for one in told["passed_over"]] == list(PLACES)
    assert two.run("hold", "list", "--json").document["holds"]


def test_half_a_list_of_passwords_is_wrong_usage(tmp_path: Path) -> None:
    nowhere = Deployment(tmp_path)
    place = ("--repository", "/x", "--password", "env:PW", "--pinned-repository", "/y")
    wrong = nowhere.run("init", "--recover", *place, *(("--pinned-password", "env:A") * 2))
    assert wrong.exit_code == 2


def test_decisions_are_in_the_repositories_at_once(two: Deployment) -> None:
    done(two.run("hold", "add", "--source", "model", "--matter", "m", "--why", "w", "--json"))
    (hold,) = two.run("hold", "list", "--json").document["holds"]
    asked = two.run("hold", "release", hold["id"], "--as", "bert", "--json")
    digest = asked.error["next_step"].split()[-1]
    shutil.rmtree(two.base / "second")
    approved = two.run("approve", digest, "--key", str(two.base / "keys" / "ada"), "--json")
    assert (approved.exit_code, approved.document["missing"]) == (3, 1)
    assert "copied second" in approved.stderr
    kinds = entry_kinds(two)
    assert kinds[-3:] == ["hold.added", "approval.requested", "approval.given"]
    for lost in ("state", "policies"):
        shutil.rmtree(two.base / lost)
    place = ("--repository", str(two.repository), "--password", "env:PW")
    back = two.run("init", "--recover", *place, "--json", more={"PW": PASSWORD})
    assert back.document["recovered"] is True
    assert entry_kinds(two)[: len(kinds)] == kinds
    again = two.run("approve", digest, "--json").document
    assert (again["missing"], [one["by"] for one in again["approvals"]]) == (1, ["ada"])
