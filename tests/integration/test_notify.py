"""Deliveries as they are made: real processes, a real Apprise, real HTTP and SMTP servers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from llmvault.app.notify import Post, Signal
from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.core.secrets import SecretResolver
from llmvault.notify.deliver import Messenger
from llmvault.notify.model import Message
from llmvault.policy.notify import AppriseTarget, EmailTarget, FileTarget, PingTarget
from tests.fakes.receivers import HANG, mailbox, receiver

pytestmark = pytest.mark.integration

AT = "2026-11-26T07:00:00.000Z"
SECRET = "s3cr3t-t0ken.of/the~chat"
WORDS = Message(AT, "a title", "some text", "critical", html="<p>some <b>text</b></p>")
FAST: Mapping[str, Any] = {"backoff": "0.01s", "timeout": "60s"}


def post(**secrets: str) -> Post:
    runner = LocalRunner(os.environ)
    return Post(SecretResolver(secrets, runner), Messenger(runner, SystemClock()))


def chat(**fields: Any) -> AppriseTarget:  # noqa: ANN401
    return AppriseTarget.model_validate({"kind": "apprise", "url": "env:CHAT", **FAST, **fields})


def ping(**fields: Any) -> PingTarget:  # noqa: ANN401
    return PingTarget.model_validate(
        {"kind": "ping", "url": "env:PING", "slug": "{host}-{job}", **FAST, **fields}
    )


def email(port: int, **fields: Any) -> EmailTarget:  # noqa: ANN401
    values = {
        "kind": "email",
        "server": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "llmvault@example.org",
        "recipients": ["ops@example.org", "owner@example.org"],
    }
    return EmailTarget.model_validate({**values, **FAST, **fields})


def test_apprise_posts_to_a_chat() -> None:
    with receiver() as chats:
        url = f"json://127.0.0.1:{chats.port}/{SECRET}"
        done = post(CHAT=url).send(chat(), WORDS, Event())
    assert (done.cause, done.tries) == ("", 1)
    (document,) = chats.documents
    assert document["title"] == "a title"
    assert document["message"] == "some text"
    assert document["type"] == "failure"


def test_what_fails_for_a_while_is_tried_again() -> None:
    with receiver([500, 503]) as chats:
        url = f"json://127.0.0.1:{chats.port}/{SECRET}"
        done = post(CHAT=url).send(chat(), WORDS, Event())
    assert (done.cause, done.tries, len(chats.posted)) == ("", 3, 3)


def test_a_chat_that_says_no_is_told_without_its_address() -> None:
    with receiver([401, 401]) as chats:
        url = f"json://user:pass-w0rd@127.0.0.1:{chats.port}/{SECRET}"
        done = post(CHAT=url).send(chat(attempts=2), WORDS, Event())
    assert done.tries == 2
    assert done.cause
    for part in ("s3cr3t", "t0ken", "chat/", "pass-w0rd", url):
        assert part not in done.cause


def test_a_webhook_that_hangs_is_stopped() -> None:
    with receiver([HANG]) as chats:
        url = f"json://127.0.0.1:{chats.port}/{SECRET}?rto=600"
        done = post(CHAT=url).send(chat(timeout="2s", attempts=1), WORDS, Event())
        assert done.cause
        stopped = Event()
        stopped.set()
        given_up = post(CHAT=f"json://127.0.0.1:{chats.port}").send(chat(), WORDS, stopped)
    assert given_up.cause == "" or "llmvault ends" in given_up.cause


@pytest.mark.parametrize(
    ("url", "words"),
    [("nonsense://x/abcdef", "none that Apprise knows"), (None, "CHAT")],
)
def test_an_address_that_is_none_is_told(url: str | None, words: str) -> None:
    secrets = {} if url is None else {"CHAT": url}
    done = post(**secrets).send(chat(attempts=1), WORDS, Event())
    assert words in done.cause
    assert "abcdef" not in done.cause


def test_mail_has_text_and_a_page() -> None:
    with mailbox() as box:
        done = post().send(email(box.port), WORDS, Event())
    assert done.cause == ""
    (mail,) = box.mail
    assert mail["Subject"] == "a title"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert box.recipients == [["ops@example.org", "owner@example.org"]]
    text, page = mail.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert text.get_content().strip() == "some text"
    assert page.get_content_type() == "text/html"


def test_mail_that_is_deferred_is_tried_again_and_refused_mail_is_not() -> None:
    with mailbox(["451 later"]) as box:
        done = post().send(email(box.port), WORDS, Event())
    assert (done.cause, done.tries, len(box.mail)) == ("", 2, 1)
    with mailbox(["554 no"]) as box:
        done = post().send(email(box.port), WORDS, Event())
    assert (done.tries, len(box.mail)) == (1, 0)
    assert "554" in done.cause


def test_a_server_without_encryption_gets_no_password() -> None:
    with mailbox() as box:
        target = email(box.port, security="starttls", user="env:USER", password="env:WORD")
        done = post(USER="vault", WORD="hunter2-hunter2").send(target, WORDS, Event())
    assert done.tries == 1
    assert "STARTTLS" in done.cause
    assert not box.mail


def test_pings_are_those_of_healthchecks() -> None:
    with receiver() as checks:
        send = post(PING=f"http://127.0.0.1:{checks.port}/{SECRET}")
        run = ("nightly", "gpu-1", "5b3e6f0e-0000-4000-8000-000000000000")
        for signal in ("start", "", "fail", "log", "3"):
            assert send.ping(ping(create=True), Signal(signal, *run), WORDS, Event()).cause == ""
    rid = f"?rid={run[2]}&create=1"
    below = f"/{SECRET}/gpu-1-nightly"
    assert checks.paths == [
        *(f"{below}/start{rid}", f"{below}{rid}", f"{below}/fail{rid}"),
        *(f"{below}/log{rid}", f"{below}/3{rid}"),
    ]
    assert checks.bodies[0] == "some text"


def test_a_ping_to_no_check_is_told() -> None:
    signal = Signal("", "nightly", "gpu-1")
    with receiver() as checks:
        checks.text = "OK (not found)"
        send = post(PING=f"http://127.0.0.1:{checks.port}/{SECRET}")
        done = send.ping(ping(), signal, WORDS, Event())
        assert (done.cause, done.tries) == ("there is no such check", 1)
        checks.answers = [404]
        assert send.ping(ping(), signal, WORDS, Event()).cause == "answered 404"
    gone = send.ping(ping(attempts=2), signal, WORDS, Event())
    assert gone.tries == 2
    assert "s3cr3t" not in gone.cause


def test_a_file_gets_a_line_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "there" / "told.jsonl"
    target = FileTarget.model_validate({"kind": "file", "path": str(file), **FAST})
    for _ in range(2):
        assert post().send(target, WORDS, Event()).cause == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().splitlines()) == 2
    blocked = FileTarget.model_validate({"kind": "file", "path": f"{file}/no", "attempts": 1})
    assert "cannot be written" in post().send(blocked, WORDS, Event()).cause
