"""Deliveries: what is tried again, and what never appears in a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmvault.notify.mail import written
from llmvault.notify.model import Delivered, Message, NotDeliveredError, hidden
from llmvault.notify.ping import ping_url
from llmvault.notify.worker import carry_out

ORDER = {
    "place": {},
    "message": {"at": "2026-11-26T07:00:00.000Z", "title": "t", "text": "x", "severity": "info"},
    "patience": {"attempts": 3, "backoff_s": 0.0, "timeout_s": 5.0},
}
WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789_-.~", min_size=4, max_size=20)


class _Flaky:
    """Fails some times, then takes everything."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self, place: Mapping[str, Any], message: Message, seconds: float) -> None:
        assert 0 < seconds <= 10
        if self.errors:
            raise self.errors.pop(0)


def test_what_may_help_is_tried_again() -> None:
    assert carry_out(ORDER, _Flaky()) == Delivered(1)
    twice = _Flaky(NotDeliveredError("later"), NotDeliveredError("later"))
    assert carry_out(ORDER, twice) == Delivered(3)
    thrice = _Flaky(*(NotDeliveredError(f"later {number}") for number in range(3)))
    assert carry_out(ORDER, thrice) == Delivered(3, "later 2")
    assert carry_out(ORDER, _Flaky(NotDeliveredError("no", again=False))) == Delivered(1, "no")


def test_an_error_of_a_library_is_told_without_its_words() -> None:
    done = carry_out(ORDER, _Flaky(RuntimeError("https://x/secret")))
    assert done.tries == 1
    assert "RuntimeError" in done.cause
    assert "secret" not in done.cause


@given(user=WORDS, word=WORDS, token=WORDS, value=WORDS)
def test_no_part_of_an_address_is_repeated(user: str, word: str, token: str, value: str) -> None:
    url = f"slack://{user}:{word}@host.example.org/{token}/%41bc{token}?key={value}"
    said = f"cannot post to {url}: {token} of {user} ({word}) with key={value}, Abc{token}"
    shown = hidden(said, [url])
    for part in (url, user, word, token, value):
        assert part not in shown


def test_what_is_no_secret_is_left() -> None:
    assert hidden("answered 500", ["json://127.0.0.1:80/abcd"]) == "answered 500"
    assert hidden("answered 500", []) == "answered 500"


@pytest.mark.parametrize(
    ("base", "signal", "expected"),
    [
        ("https://hc-ping.com/uuid", "", "https://hc-ping.com/uuid?rid=r"),
        ("https://hc-ping.com/uuid/", "start", "https://hc-ping.com/uuid/start?rid=r"),
        ("https://x/ping?a=b", "3", "https://x/ping/3?a=b&rid=r"),
    ],
)
def test_ping_addresses(base: str, signal: str, expected: str) -> None:
    assert ping_url({"url": base, "signal": signal, "rid": "r"}) == httpx.URL(expected)


def test_a_title_cannot_add_a_header() -> None:
    place = {"sender": "a@example.org", "recipients": ["b@example.org"]}
    odd = Message("2026-11-26T07:00:00.000Z", "a\r\nBcc: c@example.org", "x", "critical")
    mail = written(place, odd)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "a Bcc: c@example.org"
    assert mail["Importance"] == "high"
