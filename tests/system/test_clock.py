"""A host's clock that jumps: ids, ages and promises must not be fooled by it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.deployment import Completed, Deployment

pytestmark = pytest.mark.system

SHIFTED = Path(__file__).parents[1] / "fakes" / "shifted_clock"
DAY = 86_400


def at(deployment: Deployment, seconds: float, *arguments: str) -> Completed:
    """Run a command line on a host whose clock is off by so many seconds."""
    path = os.pathsep.join(filter(None, [str(SHIFTED), os.environ.get("PYTHONPATH")]))
    return deployment.run(
        *arguments, more={"PYTHONPATH": path, "LLMVAULT_TEST_CLOCK_OFF": str(seconds)}
    )


def test_a_clock_that_jumps_back_between_backups(fresh: Deployment) -> None:
    ahead = at(fresh, 2 * DAY, "backup", "--json")
    assert (ahead.exit_code, ahead.document["verdict"]) == (0, "proven")
    (fresh.live / "config" / "nginx.conf").write_text("server { listen 8443 ssl; }\n")
    back = at(fresh, 0, "backup", "--json")
    assert (back.exit_code, back.document["verdict"]) == (0, "proven")
    assert ahead.document["recovery_point"] > back.document["recovery_point"]
    drill = fresh.run("drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (0, "proven")
    assert drill.document["recovery_point"] == back.document["recovery_point"]
    (plan,) = fresh.run("status", "--json").document["plans"]
    assert plan["recovery_point"]["id"] == back.document["recovery_point"]
    assert 0 <= plan["recovery_point"]["age_s"] < DAY
    late = at(fresh, 1.5 * DAY, "status", "--json")
    assert (late.exit_code, late.document["plans"][0]["rpo"]["met"]) == (1, False)
    later = fresh.run("backup", "--json")
    assert (later.exit_code, later.document["verdict"]) == (0, "proven")


def test_an_old_recovery_point_breaks_the_promise(point: Deployment) -> None:
    assert at(point, 0, "drill").exit_code == 0
    late = at(point, 2 * DAY, "drill", "--json")
    assert (late.exit_code, late.document["verdict"]) == (1, "failed")
    assert late.document["rpo"]["met"] is False
    assert late.document["rpo"]["measured_s"] > 2 * DAY
    assert late.bad().keys() == {("rpo", "")}
    status = at(point, 2 * DAY, "status", "--json")
    assert (status.exit_code, status.document["verdict"]) == (1, "failed")
    (plan,) = status.document["plans"]
    assert plan["rpo"]["met"] is False
    assert "llmvault backup" in plan["next_step"]


def test_a_recovery_point_from_the_future_proves_no_age(point: Deployment) -> None:
    drill = at(point, -2 * DAY, "drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (3, "unproven")
    assert drill.document["rpo"] == {"objective_s": float(DAY), "measured_s": None, "met": None}
    assert drill.bad().keys() == {("clock", ""), ("rpo", "")}
    assert "in the future" in drill.bad()[("clock", "")][1]
    status = at(point, -2 * DAY, "status", "--json")
    assert (status.exit_code, status.document["verdict"]) == (3, "unproven")
    assert "in the future" in status.document["plans"][0]["next_step"]
    doctor = at(point, -2 * DAY, "doctor", "--json")
    assert doctor.exit_code == 1
    (repository,) = [
        one for one in doctor.document["diagnoses"] if one["subject"] == 'repository "primary"'
    ]
    assert repository["verdict"] == "failed"
    assert "in the future" in repository["detail"]
