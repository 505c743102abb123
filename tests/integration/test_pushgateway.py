"""Metrics handed to a Pushgateway: Debian's real one, one that is away, and ones that misbehave."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from llmvault.notify import metrics as metrics_module
from llmvault.schedule.publish import MetricsPublisher
from tests.integration.test_monitoring import finding, well_host
from tests.servers import free_port, running
from tests.system.deployment import Deployment, make_small
from tests.system.test_schedule import findings, outcomes, scheduler, until

pytestmark = pytest.mark.integration
needs_pushgateway = pytest.mark.skipif(
    shutil.which("prometheus-pushgateway") is None or shutil.which("promtool") is None,
    reason="prometheus-pushgateway is not installed",
)


@contextmanager
def pushgateway(port: int, log: Path) -> Iterator[str]:
    """Run a Pushgateway; yield its URL."""
    url = f"http://127.0.0.1:{port}"
    listen, kept = f"--web.listen-address=127.0.0.1:{port}", f"--persistence.file={log}.data"
    argv = ["prometheus-pushgateway", listen, kept]  # Debian's keeps what it got in /var/lib

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/-/ready", timeout=2).is_success
        except httpx.HTTPError:
            return False

    with running(argv, ready, log):
        yield url


def shown(url: str) -> dict[str, str]:
    """Return what a Pushgateway shows of llmvault: name and labels -> value."""
    text = httpx.get(f"{url}/metrics", timeout=10).text
    lines = (line for line in text.splitlines() if line.startswith("llmvault_"))
    return dict(line.rsplit(" ", 1) for line in lines)


@contextmanager
def published(tmp_path: Path, url: str) -> Iterator[Callable[..., list[str]]]:
    """Yield what publishes how a host stands; it returns what went wrong before."""
    view = well_host(tmp_path, f"metrics: {{pushgateway: '{url}'}}\n")
    publisher = MetricsPublisher(None)

    def publish(**changes: object) -> list[str]:
        told = publisher.publish(replace(view, **changes))  # type: ignore[arg-type]
        return [f"{one.kind}: {one.message}" for one in told]

    try:
        yield publish
    finally:
        publisher.close()


def wait(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@needs_pushgateway
def test_what_is_pushed_is_shown_and_what_is_over_is_not(tmp_path: Path) -> None:
    ours = 'instance="gpu-1",job="llmvault"'
    with (
        pushgateway(free_port(), tmp_path / "log") as url,
        published(tmp_path, url) as publish,
    ):
        publish(findings=[finding("overdue", "nightly")])
        wait(lambda: any(name.startswith("llmvault_finding{") for name in shown(url)))
        told = shown(url)
        assert f'llmvault_rpo_objective_seconds{{host="gpu-1",{ours},plan="nightly"}}' in told
        assert [name for name in told if 'instance="gpu-1"' not in name] == []
        text = httpx.get(f"{url}/metrics", timeout=10).text
        lines = "".join(f"{line}\n" for line in text.splitlines() if "llmvault_" in line)
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=lines,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

        def over() -> bool:
            assert publish() == []
            return not any(name.startswith("llmvault_finding{") for name in shown(url))

        wait(over)


@needs_pushgateway
def test_while_it_is_away_jobs_are_done_and_it_is_told(tmp_path: Path) -> None:
    deployment: Deployment = make_small(tmp_path / "base")
    port = free_port()
    deployment.override(
        "jobs: {backups: {kind: backup, every: 2s, grace: 1h}}\n"
        f"metrics: {{pushgateway: 'http://127.0.0.1:{port}'}}\n"
    )
    with scheduler(deployment):
        until(lambda: "metrics-failed" in findings(deployment), "that it is away is found")
        assert f"127.0.0.1:{port}" in findings(deployment)["metrics-failed"]["message"]
        until(lambda: "proven" in outcomes(deployment), "a backup is made nevertheless")
        with pushgateway(port, tmp_path / "log") as url:
            until(lambda: "metrics-failed" not in findings(deployment), "it is there again")
            names = {name.partition("{")[0] for name in shown(url)}
            assert "llmvault_look_timestamp_seconds" in names
    assert "failed" not in outcomes(deployment)


@contextmanager
def strange_gateway(answer: bytes | None) -> Iterator[tuple[str, threading.Event]]:
    """Listen; answer with some bytes, or never. Yield the URL and what tells of a connection."""
    heard, leave = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection:
                    if leave.is_set():
                        return
                    heard.set()
                    if answer is None:
                        leave.wait(60)
                    else:
                        connection.recv(1 << 20)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        finally:
            leave.set()
            socket.create_connection(server.getsockname()).close()
            thread.join()


def test_one_that_hangs_keeps_nobody_waiting_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "_PUSH_SECONDS", 1.0)
    with strange_gateway(None) as (url, heard), published(tmp_path, url) as publish:
        assert publish() == []
        assert heard.wait(60)
        publish()  # returns, though the gateway holds the first one still
        wait(publish)
        assert all("timed out" in one and "metrics-failed" in one for one in publish())


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 500 Internal Server Error\r\n\r\n"],
    ids=["no HTTP", "hangs up", "an error"],
)
def test_one_that_is_none_is_told(tmp_path: Path, answer: bytes) -> None:
    with strange_gateway(answer) as (url, _), published(tmp_path, url) as publish:
        wait(publish)
        assert all(url in one for one in publish())
