"""Telling people, as they set it up: a scheduler with targets, test messages, digests."""

from __future__ import annotations

import json

import pytest

from tests.fakes.receivers import HANG, mailbox, receiver
from tests.system.deployment import Deployment
from tests.system.test_schedule import findings, outcomes, scheduler, until

pytestmark = pytest.mark.system
TOKEN = "t0p-s3cret-t0ken"
OFTEN = "jobs: {backups: {kind: backup, every: 2s, grace: 1h}}\n"


def secret(deployment: Deployment, name: str, text: str) -> str:
    """Keep a secret in a file; return the reference to it."""
    file = deployment.base / "secrets" / name
    file.write_text(text)
    file.chmod(0o600)
    return f"file:{file}"


def leaks(deployment: Deployment, *words: str) -> list[str]:
    """Return the files of the installation, other than the secrets, in which a word is."""
    return [
        f"{file}: {word}"
        for file in deployment.base.rglob("*")
        if file.is_file() and "secrets" not in file.parts
        for word in words
        if word.encode() in file.read_bytes()
    ]


def test_a_scheduler_tells_and_pings_while_a_webhook_hangs(fresh: Deployment) -> None:
    with receiver() as chat, receiver() as checks, receiver([HANG] * 100) as hung:
        urls = {
            "chat": f"json://127.0.0.1:{chat.port}/{TOKEN}-chat",
            "checks": f"http://127.0.0.1:{checks.port}/{TOKEN}-ping",
            "hung": f"json://127.0.0.1:{hung.port}/{TOKEN}-hung?rto=600",
        }
        at = {name: secret(fresh, name, url) for name, url in urls.items()}
        fresh.override(
            OFTEN + "notify:\n"
            f"  chat: {{kind: apprise, url: '{at['chat']}', at_least: info, settle: 0s}}\n"
            f"  checks: {{kind: ping, url: '{at['checks']}', slug: '{{host}}-{{job}}'}}\n"
            f"  hung: {{kind: apprise, url: '{at['hung']}', at_least: info, timeout: 3s}}\n"
        )
        with scheduler(fresh, "--finish-within", "5s") as process:
            until(lambda: outcomes(fresh).count("proven") >= 3, "backups go on")
            until(lambda: "notification-failed" in findings(fresh), "the hang is a finding")
            until(
                lambda: any("hung cannot be told" in body for body in chat.bodies),
                "the chat is told that another target cannot be",
            )
        assert process.returncode == 0
        assert findings(fresh)["notification-failed"]["subject"] == "hung"
        assert set(outcomes(fresh)) <= {"proven", "interrupted"}
        told = [one["message"] for one in chat.documents]
        assert any("backup job backups ended proven" in text for text in told)
        first, second, *_ = checks.paths
        assert first.startswith(f"/{TOKEN}-ping/tests-backups/start?rid=")
        assert second == first.replace("/start", "")
    assert leaks(fresh, TOKEN) == []
    shown = fresh.run("policy", "show", "notify")
    assert TOKEN not in shown.stdout + shown.stderr


def test_test_messages_say_who_was_reached(fresh: Deployment) -> None:
    with receiver() as checks, mailbox() as box:
        at = secret(fresh, "ping", f"http://127.0.0.1:{checks.port}/{TOKEN}")
        gone = secret(fresh, "gone", f"json://127.0.0.1:1/{TOKEN}")
        fresh.override(
            "jobs: {backups: {kind: backup, every: 1d}}\n"
            "notify:\n"
            f"  gone: {{kind: apprise, url: '{gone}', attempts: 1}}\n"
            f"  checks: {{kind: ping, url: '{at}', jobs: [backups]}}\n"
            "  owners:\n"
            f"    {{kind: email, server: 127.0.0.1, port: {box.port}, security: none,\n"
            "     sender: vault@example.org, recipients: [ops@example.org]}\n"
        )
        done = fresh.run("notify", "test", "--json")
        assert done.exit_code == 5, done
        states = {one["target"]: one["state"] for one in done.document["sent"]}
        assert states == {"gone": "not delivered", "checks": "delivered", "owners": "delivered"}
        assert checks.paths == [f"/{TOKEN}/log"], "the check keeps its state"
        assert [mail["Subject"] for mail in box.mail] == ["llmvault on tests: test"]
        people = fresh.run("notify", "test", "gone")
        assert people.exit_code == 5
        assert TOKEN not in done.stdout + done.stderr + people.stdout + people.stderr
    unknown = fresh.run("notify", "test", "nobody", "--json")
    assert (unknown.exit_code, unknown.error["next_step"]) == (2, "it has gone, checks, owners")


def test_a_digest_is_shown_written_and_sent_once(point: Deployment) -> None:
    with mailbox(["451 later", "554 no"]) as box:
        point.override(
            "notify:\n"
            "  owners:\n"
            f"    {{kind: email, server: 127.0.0.1, port: {box.port}, security: none,\n"
            "     backoff: 0s, attempts: 2, sender: vault@example.org,\n"
            "     recipients: [ops@example.org]}\n"
            "  log: {kind: file, path: ../../told.jsonl, digest: true}\n"
            "  quiet: {kind: file, path: ../../quiet.jsonl}\n"
        )
        page = point.base / "digest.html"
        shown = point.run("notify", "digest", "--output", str(page), "--json")
        assert shown.exit_code == 0, shown
        (plan,) = shown.document["digest"]["plans"]
        assert (plan["plan"], plan["rpo"]["met"], plan["verdict"]) == ("nightly", True, "unproven")
        assert page.stat().st_mode & 0o777 == 0o600
        assert "nightly" in page.read_text()

        week = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-08T00:00:00Z")
        failed = point.run("notify", "digest", "--send", *week, "--json")
        assert failed.exit_code == 5, failed
        again = point.run("notify", "digest", "--send", *week, "--json")
        states = {one["target"]: one["state"] for one in again.document["sent"]}
        assert states == {"owners": "delivered", "log": "delivered before"}
        (mail,) = box.mail
        subject = mail["Subject"].strip()  # it is folded, RFC 5322 section 2.2.3
        assert subject.startswith("llmvault digest of 2026-01-01 to 2026-01-08: ")
        assert [part.get_content_type() for part in mail.iter_parts()] == [
            "text/plain",
            "text/html",
        ]
    lines = (point.base / "told.jsonl").read_text().splitlines()
    assert [json.loads(line)["title"] for line in lines] == [subject]
    assert not (point.base / "quiet.jsonl").exists()
    people = point.run("notify", "digest")
    assert "Plans\n" in people.stdout


def test_jobs_retention_and_digest_are_command_lines_that_exist(fresh: Deployment) -> None:
    fresh.override(
        "retention: {standard: {basis: a test, keep: {last: 2}}}\n"
        "notify: {log: {kind: file, path: ../../told.jsonl, digest: true}}\n"
        "jobs:\n"
        "  backups: {kind: backup, every: 1d}\n"
        "  digests: {kind: digest, every: 2s, period: 1d, grace: 1h}\n"
        "  keep: {kind: retention, every: 2s, grace: 1h, classes: [standard]}\n"
    )
    told = fresh.base / "told.jsonl"
    with scheduler(fresh):
        until(told.exists, "a digest is told")
        until(lambda: "retention-unproven" in findings(fresh), "retention ran")
    assert "there is no recovery point" in findings(fresh)["retention-unproven"]["message"]
    assert "digest-wrong" not in findings(fresh)
