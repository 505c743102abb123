"""What commands print of their results: documents for programs, text for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmvault.backup.model import BackupPlan, BackupResult, Reading, RepositoryResult, SourceResult
from llmvault.cli.output import Output
from llmvault.cli.views.backup import show_backups, show_plans
from llmvault.cli.views.drill import show_drill
from llmvault.cli.views.restore import show_restore
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.model import Phases
from llmvault.restore.model import Fetched, RestoreResult
from tests.fakes import drills

SOURCE = SourceResult(
    name="models",
    kind="hf_cache",
    snapshot="4f2a91c07be35d10",
    verdict=Verdict.PROVEN,
    bytes_processed=92_590_000,
    bytes_added=1_200_000,
    files=31,
    sha256_verified=31,
    seconds=4.2,
    reason="",
)
BACKUP = BackupResult(
    recovery_point="rp-1",
    plan="assistant",
    verdict=Verdict.PROVEN,
    sources=(SOURCE,),
    repositories=(RepositoryResult("local", Verdict.PROVEN, "the manifest is stored"),),
    checks=(Check("embedding-dimension", "docs", Verdict.PROVEN, "384 and 384"),),
    seconds=5.5,
)
RESTORE = RestoreResult(
    id="restore-1",
    recovery_point="rp-1",
    target=Path("/srv/back"),
    verdict=Verdict.FAILED,
    fetched=(Fetched("models", Path("/srv/back/models"), 31, 92_590_000, 1.5, 0.25, ()),),
    checks=(Check("digests", "models", Verdict.FAILED, "a.bin: No such file\nor directory"),),
    seconds=2.0,
)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(printed(capsys))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.PROVEN, 0), (Verdict.FAILED, 1), (Verdict.UNPROVEN, 3)]
)
@pytest.mark.parametrize("json_mode", [False, True])
def test_the_verdict_is_the_exit_code(json_mode: bool, verdict: Verdict, code: int) -> None:
    output = Output(json=json_mode)
    assert show_drill(output, replace(drills.proven(), verdict=verdict)) == code
    assert show_restore(output, replace(RESTORE, verdict=verdict)) == code
    assert show_backups(output, [replace(BACKUP, verdict=verdict)]) == code
    assert show_backups(output, [BACKUP, replace(BACKUP, verdict=verdict)]) == code


def test_no_backup_is_not_green() -> None:
    assert show_backups(Output(json=False), []) == 3


def test_the_document_of_a_backup_is_the_promised_one(capsys: pytest.CaptureFixture[str]) -> None:
    show_backups(Output(json=True), [BACKUP])
    found = document(capsys)
    promised = {"recovery_point", "plan", "verdict", "sources", "repositories", "seconds"}
    assert found.keys() == promised | {"checks"}
    assert found["sources"] == [
        {
            "name": "models",
            "kind": "hf_cache",
            "snapshot": "4f2a91c07be35d10",
            "verdict": "proven",
            "bytes_processed": 92_590_000,
            "bytes_added": 1_200_000,
            "files": 31,
            "sha256_verified": 31,
            "seconds": 4.2,
            "reason": "",
        }
    ]
    assert found["repositories"] == [
        {"name": "local", "verdict": "proven", "reason": "the manifest is stored"}
    ]


def test_several_backups_are_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    failed = replace(BACKUP, plan="archive", verdict=Verdict.FAILED)
    show_backups(Output(json=True), [BACKUP, failed])
    found = document(capsys)
    assert found["verdict"] == "failed"
    assert [one["plan"] for one in found["backups"]] == ["assistant", "archive"]


def test_people_see_what_a_backup_took(capsys: pytest.CaptureFixture[str]) -> None:
    show_backups(Output(json=False), [BACKUP])
    text = printed(capsys)
    for fact in ("rp-1", "models", "hf_cache", "88.3 MiB", "1.14 MiB", "the manifest is stored"):
        assert fact in text
    assert text.splitlines()[-1] == "assistant: proven, 88.3 MiB in 5.5 s, 1.14 MiB added"


def test_a_plan_says_how_each_source_would_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    reading = Reading("models", "hf_cache", {"local": "4f2a"}, "off", True, "weights")
    plan = BackupPlan("assistant", "rp-2", ("local",), (reading,))
    assert show_plans(Output(json=False), [plan]) == 0
    assert "weights" in printed(capsys)
    assert show_plans(Output(json=True), [plan]) == 0
    assert document(capsys)["plans"][0]["sources"][0]["parents"] == {"local": "4f2a"}


def test_the_document_of_a_restore_names_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    show_restore(Output(json=True), RESTORE)
    found = document(capsys)
    assert (found["restore"], found["target"], found["verdict"]) == (
        "restore-1",
        "/srv/back",
        "failed",
    )
    assert found["sources"][0] == {
        "name": "models",
        "path": "/srv/back/models",
        "files": 31,
        "bytes": 92_590_000,
        "fetch_seconds": 1.5,
        "verify_seconds": 0.25,
    }
    assert found["checks"][0]["name"] == "digests"


def test_a_check_is_one_line_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_restore(Output(json=False), RESTORE)
    lines = [line for line in printed(capsys).splitlines() if "digests" in line]
    assert len(lines) == 1
    assert r"No such file\nor directory" in lines[0]


def test_a_restore_without_checks_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_restore(Output(json=False), replace(RESTORE, checks=(), verdict=Verdict.UNPROVEN))
    assert "Nothing was checked." in printed(capsys)


def test_a_drill_ends_with_verdict_and_report(capsys: pytest.CaptureFixture[str]) -> None:
    show_drill(Output(json=False), replace(drills.proven(), report="/state/reports/d.html"))
    lines = printed(capsys).splitlines()
    assert lines[-3].startswith("Proven: the deployment of plan assistant")
    assert lines[-1] == "report: /state/reports/d.html"
    assert "RTO 41.2 s, objective 15 min: met (4.6 % of the objective: 14 min 19 s to spare)" in (
        lines
    )


def test_the_document_of_a_drill_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    show_drill(Output(json=True), drills.failed())
    assert document(capsys) == drills.failed().as_json()


def test_a_failed_drill_says_in_the_end_what_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    show_drill(Output(json=False), drills.failed())
    lines = printed(capsys).splitlines()
    assert lines[-4].startswith("Failed: restored files are not byte for byte")
    assert lines[-4].endswith("1 other check failed and 1 check could not be made.")
    assert lines[-3].startswith("blobs/53aa51172d142c89")


def phase_lines(capsys: pytest.CaptureFixture[str], phases: Phases) -> dict[str, str]:
    show_drill(Output(json=False), replace(drills.proven(), phases=phases))
    names = ("fetch", "verify", "load", "first answer", "other", "together")
    lines = printed(capsys).splitlines()
    return {name: line for name in names for line in lines if line.startswith(f"{name} ")}


def test_each_phase_is_drawn_where_the_last_one_ended(capsys: pytest.CaptureFixture[str]) -> None:
    found = phase_lines(capsys, Phases(20.0, 10.0, 5.0, 0.001, 40.0))
    left = found["fetch"].index("█")
    drawn = {n: (line.find("█") - left, line.count("█")) for n, line in found.items()}
    assert drawn["fetch"] == (0, 20)
    assert drawn["verify"] == (20, 10)
    assert drawn["load"] == (30, 5)
    assert drawn["first answer"] == (35, 1)
    assert drawn["other"] == (35, 5)
    assert found["together"].split() == ["together", "40", "s"]


def test_phases_not_reached_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = phase_lines(capsys, Phases(fetch=2.0))
    assert found["load"].split() == ["load", "not", "reached"]
    assert found["together"].split() == ["together", "2", "s"]
    assert phase_lines(capsys, Phases())["together"].endswith("not measured")
