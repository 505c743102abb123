"""Engines that crash, hang or answer differently; goldens that were never recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.system.deployment import Deployment

pytestmark = pytest.mark.system

BAD_SERVER = Path(__file__).parents[1] / "fakes" / "bad_server.py"


def use_server(deployment: Deployment, mode: str, **limits: str) -> None:
    """Let the plan ask a server that behaves as `mode` says; goldens are not recorded."""
    more = "".join(f", {name}: {value}" for name, value in limits.items())
    command = f'["{sys.executable}", "{BAD_SERVER}", {mode}, "{{port}}"]'
    deployment.override(
        f"""
        engines:
          server: {{kind: openai, source: model, model: language.gguf, command: {command}{more}}}
        goldens:
          answers: {{engine: server}}
        plans:
          nightly: {{drill: {{engines: [server], record_at_backup: false}}}}
        """
    )


@pytest.mark.parametrize(
    ("mode", "limits", "causes"),
    [
        ("exits", {}, ["ended before it was ready (exit code 1)", "no such device: cuda:7"]),
        ("crashes", {}, ["crashed while", "killed by SIGSEGV", "the answer is 42"]),
        ("hangs", {"request_timeout": "1s"}, ["hung while", "nothing within 1", "request_timeout"]),
        ("never-ready", {"start_timeout": "1s"}, ["hung while starting", "start_timeout"]),
        ("http-500", {}, ["out of memory"]),
        ("not-json", {}, ["JSON"]),
    ],
)
def test_an_engine_that_does_not_answer_fails_the_drill(
    point: Deployment, mode: str, limits: dict[str, str], causes: list[str]
) -> None:
    use_server(point, mode, **limits)
    done = point.run("drill", "--json")
    assert (done.exit_code, done.document["verdict"]) == (1, "failed")
    verdict, detail = done.bad()[("engine:server", "model")]
    assert verdict == "failed"
    for cause in ('engine "server"', *causes):
        assert cause in detail
    assert done.document["rto"] == {"objective_s": 900.0, "measured_s": None, "met": None}
    assert done.bad()[("rto", "")][0] == "unproven"
    assert point.processes() == set()
    assert list((point.state / "scratch").iterdir()) == []


def test_an_engine_that_is_not_installed_is_unproven(point: Deployment) -> None:
    point.override(
        """
        engines: {server: {kind: openai, source: model, model: ., command: [absent-server]}}
        goldens: {answers: {engine: server}}
        plans: {nightly: {drill: {engines: [server]}}}
        """
    )
    done = point.run("drill", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    assert "absent-server" in done.bad()[("engine:server", "model")][1]
    doctor = point.run("doctor", "--json")
    (diagnosis,) = [
        one for one in doctor.document["diagnoses"] if one["subject"] == 'engine "server"'
    ]
    assert diagnosis["verdict"] == "unproven"
    assert diagnosis["next_step"]


def test_an_engine_that_answers_differently_fails_the_drill(point: Deployment) -> None:
    use_server(point, "good")
    done = point.run("drill", "--json")
    assert (done.exit_code, done.document["verdict"]) == (1, "failed")
    verdict, detail = done.bad()[("golden:answers", "model")]
    assert verdict == "failed"
    assert "4" in detail
    assert done.document["rto"]["met"] is True


def test_goldens_that_a_drill_records_prove_the_next_one(fresh: Deployment) -> None:
    fresh.override("plans: {nightly: {drill: {record_at_backup: false}}}")
    backup = fresh.run("backup", "--json")
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven")
    first = fresh.run("drill", "--json")
    assert (first.exit_code, first.document["verdict"]) == (3, "unproven")
    assert first.bad().keys() == {("golden:answers", "")}
    assert "--record" in first.bad()[("golden:answers", "")][1]
    recording = fresh.run("drill", "--record", "--json")
    assert (recording.exit_code, recording.document["verdict"]) == (3, "unproven")
    assert "recorded now" in recording.bad()[("golden:answers", "model")][1]
    second = fresh.run("drill", "--json")
    assert (second.exit_code, second.document["verdict"]) == (0, "proven")
    elsewhere = fresh.run("drill", "--json", "--state", str(fresh.base / "other-state"))
    assert (elsewhere.exit_code, elsewhere.document["verdict"]) == (0, "proven")
    named = ("--recovery-point", backup.document["recovery_point"])
    again = fresh.run("drill", "nightly", *named, "--record", "--json")
    assert (again.exit_code, again.document["verdict"]) == (0, "proven")


def test_a_plan_without_engines_is_unproven(point: Deployment) -> None:
    point.override("plans: {nightly: {drill: {engines: [], goldens: []}}}")
    done = point.run("drill", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    assert "names no engine" in done.bad()[("engine", "")][1]


def test_a_recovery_point_that_does_not_exist(point: Deployment) -> None:
    done = point.run("drill", "--recovery-point", "rp-20200101T000000Z-000000", "--json")
    assert (done.exit_code, done.document["verdict"]) == (3, "unproven")
    assert "rp-20200101T000000Z-000000" in done.bad()[("drill", "")][1]
    restore = point.run("restore", "rp-2020", "--target", str(point.base / "out"), "--json")
    assert restore.exit_code == 5
    assert "rp-2020" in restore.error["thing"]
    assert "recovery-points list" in restore.error["next_step"]
    shown = point.run("recovery-points", "show", "rp-2020", "--json")
    assert shown.exit_code == 5
