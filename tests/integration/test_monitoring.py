"""Metrics, alert rules and dashboard, judged by promtool, a real Prometheus and Alertmanager."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from llmvault.catalog.model import DrillEntry, NewestPoint
from llmvault.copies.model import Coverage
from llmvault.core.clock import SystemClock
from llmvault.core.verdict import Verdict
from llmvault.notify.metrics import Metrics
from llmvault.schedule.measure import Known, View, samples_of
from llmvault.schedule.model import Finding, Outcome, Run, Seen
from llmvault.schedule.plan import jobs_of
from tests.fakes.fleet import START
from tests.fakes.policy_files import load
from tests.servers import free_port, running

pytestmark = pytest.mark.integration
MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
POLICY = """
version: 1
repositories: {primary: {url: /r, password: "env:P"}}
sources: {configs: {kind: configs, path: /s}}
plans: {nightly: {sources: [configs], repositories: [primary], schedule: "30 2 * * *"}}
"""
SECONDS = 60.0
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus-alertmanager") is None,
    reason="Prometheus is not installed",
)


@pytest.fixture
def well(tmp_path: Path) -> View:
    return well_host(tmp_path)


def well_host(tmp_path: Path, more: str = "") -> View:
    """A host that keeps its promises, now: Prometheus compares with the machine's own clock."""
    loaded = load(tmp_path / "policy", {"policy.yaml": POLICY + more})
    jobs = jobs_of(loaded.policy, "gpu-1")
    now = SystemClock().now()
    ago = timedelta(minutes=5)
    ran = Run(
        "backup-nightly", "backup", "gpu-1", "gpu-1", now - ago, now - ago, now, 1, Outcome.PROVEN
    )
    drill = DrillEntry(
        "d", "nightly", "rp", now - ago, "proven", 900.0, 60.0, 86_400.0, 1.0, {}, "", "gpu-1"
    )
    known = Known(
        [NewestPoint("gpu-1", "nightly", "proven", now - ago)], [drill],
        {"primary": now + timedelta(days=20)},
        {"primary": Coverage(30, 30, now, (), 1, 0, Verdict.PROVEN)},
    )  # fmt: skip
    seen = {job.name: Seen(START, (ran,)) for job in jobs}
    return View("gpu-1", "0.1.0", now, loaded, jobs, seen, (), known)


def finding(kind: str, subject: str) -> Finding:
    return Finding(f"{kind}/{subject}", kind, "critical", "gpu-1", subject, "bad", "mend it")


def ill(view: View) -> View:
    """Return the view with everything wrong that an alert is about."""
    now = view.now
    bad = [
        ("silent-host", "gpu-2"), ("overdue", "nightly"), ("backup-failed", "nightly"),
        ("drill-unproven", "drills"), ("copies-hung", "copies"), ("policy-broken", "policy"),
        ("verification-behind", "primary"), ("ledger-not-pinned", "ledger"),
    ]  # fmt: skip
    old = [NewestPoint("gpu-1", "nightly", "proven", now - timedelta(days=9))]
    slow = [replace(drill, rto_measured_s=90_000.0) for drill in view.known.drills]
    known = replace(
        view.known, points=old, drills=slow, lapses={"primary": now + timedelta(days=1)}
    )
    stopped = now - timedelta(hours=1)
    return replace(view, now=stopped, findings=[finding(*one) for one in bad], known=known)


@needs_prometheus
def test_the_metrics_are_clean(well: View) -> None:
    for view in (well, ill(well)):
        metrics = Metrics()
        metrics.put(samples_of(view))
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=metrics.text(), capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@needs_prometheus
@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")]
)
def test_the_rules_hold(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_unit_test() -> None:
    tested = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())["tests"]
    names = {case["alertname"] for one in tested for case in one["alert_rule_test"]}
    assert names == {rule["alert"] for rule in RULES}


def test_rules_and_dashboard_name_only_what_is_measured(well: View) -> None:
    measured = {sample.name for view in (well, ill(well)) for sample in samples_of(view)}
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    assert len(queries) >= 10
    queries += [rule["expr"] for rule in RULES]
    named = {name for query in queries for name in re.findall(r"\bllmvault_\w+", query)}
    assert named <= measured
    everywhere = {name for name in measured if name not in named}
    assert everywhere <= {
        "llmvault_drill_timestamp_seconds", "llmvault_job_outcome", "llmvault_job_running",
        "llmvault_job_proven_timestamp_seconds", "llmvault_verification_errors", "llmvault_info",
    }  # fmt: skip


def until(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up, f"never happened: {what}"
        time.sleep(0.2)


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    place = tmp_path / "alertmanager"
    place.mkdir()
    (place / "config.yaml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    argv = [
        "prometheus-alertmanager", f"--config.file={place / 'config.yaml'}",
        f"--storage.path={place}", f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]  # fmt: skip
    with running(argv, lambda: _ready(f"{url}/-/ready"), place / "log"):
        yield url


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def metrics(tmp_path: Path, alertmanager: str) -> Iterator[Metrics]:
    """Metrics that a Prometheus with our rules scrapes each second and tells Alertmanager of."""
    port, place = free_port(), tmp_path / "prometheus"
    place.mkdir()
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)  # a test cannot wait for minutes
    (place / "alerts.yaml").write_text(yaml.safe_dump(rules))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(place / "alerts.yaml")],
        "scrape_configs": [
            {"job_name": "llmvault", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        ],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}
            ]
        },
    }
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    argv = [
        "prometheus", f"--config.file={place / 'config.yaml'}", f"--storage.tsdb.path={place}/data",
        f"--web.listen-address={url.removeprefix('http://')}", "--rules.alert.resend-delay=1s",
    ]  # fmt: skip
    values = Metrics()
    with ExitStack() as stack:
        stack.callback(values.serve("127.0.0.1", port))
        stack.enter_context(running(argv, lambda: _ready(f"{url}/-/ready"), place / "log"))
        yield values


@needs_prometheus
def test_prometheus_fires_and_alertmanager_receives_and_clears_every_alert(
    metrics: Metrics, alertmanager: str, well: View
) -> None:
    def active() -> set[str]:
        told = httpx.get(f"{alertmanager}/api/v2/alerts", timeout=5).json()
        return {alert["labels"]["alertname"] for alert in told}

    metrics.put(samples_of(ill(well)))
    wanted = {rule["alert"] for rule in RULES}
    until(lambda: active() == wanted, "every alert arrives")
    metrics.put(samples_of(well))
    until(lambda: not active(), "every alert is cleared")
