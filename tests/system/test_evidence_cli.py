"""Evidence of a real backup and drill, by the command line, verified where nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.evidence.archive import unpack
from llmvault.keys.store import KeyFiles
from llmvault.ledger.writer import TileLedger
from tests.system.deployment import Completed, Deployment

pytestmark = pytest.mark.system

PERSON = "anna.meier@example.org"
SECRET = "hush-Zq81-never-shown"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
PLANTED = {"PLANTED_SECRET": SECRET}
POLICY = f"""
    goldens:
      answers:
        prompts: ["write to {PERSON}", "who is Anna Meier?"]
    repositories:
      primary:
        environment: {{AWS_SECRET_ACCESS_KEY: "env:PLANTED_SECRET", OTHER: "env:PLANTED_SECRET"}}
"""


@pytest.fixture(scope="module")
def drilled(small: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment with a recovery point, a drill, and things that must stay at home."""
    made = small.copy(tmp_path_factory.mktemp("evidence") / "base")
    made.override(POLICY)
    (made.live / "config" / f"{PERSON}.md").write_text(f"{PERSON} {SECRET} {TOKEN}\n")
    for command in (("backup", "--json"), ("drill", "--json")):
        done = made.run(*command, more=PLANTED)
        assert done.exit_code == 0, done
    return made


@pytest.fixture(scope="module")
def exported(drilled: Deployment) -> Completed:
    """The bundle of it."""
    output = drilled.base / "evidence.zip"
    return drilled.run("evidence", "export", "--output", str(output), "--json", more=PLANTED)


def bundle_of(exported: Completed) -> dict[str, bytes]:
    return unpack(Path(exported.document["bundle"]).read_bytes())


def test_a_backup_and_a_drill_are_proven_by_the_bundle(exported: Completed) -> None:
    assert exported.exit_code == 0, exported
    document = exported.document
    assert document["verdict"] == "proven"
    assert document["statements"]["backup"] == {"proven": 1, "failed": 0, "unproven": 0}
    assert document["statements"]["drill"] == {"proven": 1, "failed": 0, "unproven": 0}
    assert document["statements"]["coverage"] == {"proven": 1, "failed": 0, "unproven": 0}
    assert document["findings"]["dora"]["satisfied"] >= 3
    path = Path(document["bundle"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_verifies_with_nothing_but_itself_and_the_key(
    exported: Completed, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    shutil.copy(exported.document["bundle"], place / "evidence.zip")
    shutil.copy(exported.document["public_key"], place / "key.pem")
    bare = {"PATH": os.environ["PATH"], "HOME": str(place)}
    argv = [sys.executable, "-m", "llmvault", "evidence", "verify", "evidence.zip", "--json"]

    def verify(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*argv, *more], cwd=place, env=bare, capture_output=True, text=True, check=False
        )

    done = verify("--key", "key.pem")
    assert done.returncode == 0, done
    assert {one["verdict"] for one in json.loads(done.stdout)["checks"]} == {"proven"}
    assert verify().returncode == 3
    assert sorted(file.name for file in place.iterdir()) == ["evidence.zip", "key.pem"]
    data = bytearray((place / "evidence.zip").read_bytes())
    data[len(data) // 3] ^= 4
    (place / "evidence.zip").write_bytes(data)
    changed = verify("--key", "key.pem")
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["verdict"] == "failed"


def test_nothing_personal_and_no_secret_is_in_it(exported: Completed, drilled: Deployment) -> None:
    files = bundle_of(exported)
    password = (drilled.base / "secrets" / "password").read_text().strip()
    for planted in (PERSON, "anna", "meier", SECRET, TOKEN, f'"{password}"'):
        for name, data in files.items():
            assert planted.lower().encode() not in data.lower(), f"{name} holds {planted}"
    policy = json.loads(files["policies/policy.json"])
    assert policy["repositories"]["primary"]["password"].startswith("file:")
    environment = policy["repositories"]["primary"]["environment"]
    assert environment["AWS_SECRET_ACCESS_KEY"] == "env:PLANTED_SECRET"
    assert policy["goldens"]["answers"]["prompts"] == "(2 texts withheld)"


def test_the_page_is_made_anew(exported: Completed, drilled: Deployment, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = drilled.run("evidence", "report", exported.document["bundle"], "--output", str(page))
    assert done.exit_code == 0, done
    assert page.read_bytes() == bundle_of(exported)["report.html"]


def test_a_bundle_of_another_installation_is_told_apart(
    exported: Completed, fresh: Deployment
) -> None:
    other = fresh.run("evidence", "export", "--output", str(fresh.base / "own.zip"), "--json")
    assert other.exit_code == 3  # nothing was backed up or drilled there
    done = fresh.run(
        "evidence", "verify", exported.document["bundle"], "--json",
        "--key", other.document["public_key"],
    )  # fmt: skip
    assert done.exit_code == 1
    assert "another installation" in done.named("checks", "key")["detail"]


def test_a_backup_that_was_killed_is_unproven(drilled: Deployment, tmp_path: Path) -> None:
    made = drilled.copy(tmp_path / "copy")
    keys = KeyFiles(made.state / "keys")
    ledger = TileLedger(
        made.state / "ledger", keys.signing_key, keys.verifiers, SystemClock(), "tests"
    )
    facts = {"plan": "nightly", "recovery_point": "rp-20990101T000000Z-000000"}
    ledger.append("backup.started", facts)
    output = str(tmp_path / "e.zip")
    done = made.run("evidence", "export", "--output", output, "--json", more=PLANTED)
    assert done.exit_code == 3
    assert done.document["statements"]["backup"]["unproven"] == 1


def test_a_report_that_is_missing_is_told(drilled: Deployment, tmp_path: Path) -> None:
    made = drilled.copy(tmp_path / "copy")
    for report in (made.state / "reports").glob("*.json"):
        report.unlink()
    output = str(tmp_path / "e.zip")
    done = made.run("evidence", "export", "--output", output, "--json", more=PLANTED)
    assert done.exit_code == 3
    assert any("its report is missing" in reason for reason in done.document["reasons"])


def test_a_key_that_others_may_read_is_refused(drilled: Deployment, tmp_path: Path) -> None:
    made = drilled.copy(tmp_path / "copy")
    made.run("evidence", "export", "--output", str(tmp_path / "a.zip"), more=PLANTED)
    (made.state / "keys" / "signing.pem").chmod(0o644)
    output = str(tmp_path / "b.zip")
    done = made.run("evidence", "export", "--output", output, "--json", more=PLANTED)
    assert done.exit_code == 4
    assert "others may read it" in done.error["cause"]


def test_a_period_in_the_past_is_empty_and_unproven(drilled: Deployment, tmp_path: Path) -> None:
    done = drilled.run(
        "evidence", "export", "--output", str(tmp_path / "e.zip"), "--framework", "soc2",
        "--from", "2020-01-01", "--to", "2020-03-31", "--json", more=PLANTED,
    )  # fmt: skip
    assert done.exit_code == 3
    assert done.document["period"]["from"] == "2020-01-01T00:00:00.000Z"
    assert done.document["findings"] == {"soc2": {"satisfied": 0, "not_satisfied": 12}}


@pytest.mark.parametrize(
    "options",
    [
        ("--framework", "socks"),
        ("--from", "yesterday"),
        ("--from", "2026-02-01", "--to", "2026-01-01"),
    ],
)
def test_wrong_usage_touches_nothing(
    drilled: Deployment, tmp_path: Path, options: tuple[str, ...]
) -> None:
    output = tmp_path / "e.zip"
    done = drilled.run("evidence", "export", "--output", str(output), *options, more=PLANTED)
    assert done.exit_code == 2, done
    assert not output.exists()


def test_the_verdict_is_told_to_people(drilled: Deployment, tmp_path: Path) -> None:
    done = drilled.run("evidence", "export", "--output", str(tmp_path / "e.zip"), more=PLANTED)
    assert "Proven: evidence of" in done.stdout
    key = str(drilled.state / "keys" / "signing.pub.pem")
    told = drilled.run("evidence", "verify", str(tmp_path / "e.zip"), "--key", key)
    assert told.exit_code == 0
    assert "every bit of the bundle is as the key's owner signed it" in told.stdout
