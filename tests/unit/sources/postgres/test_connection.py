"""Addresses of databases: shown without passwords, given to programs without passwords."""

from __future__ import annotations

import pytest

from llmvault.core.errors import PolicyError
from llmvault.core.secrets import Secret
from llmvault.sources.postgres.connection import parse_address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app@db.example:5433/docs", "postgresql://app@db.example:5433/docs"),
        ("postgresql://app:pw@db.example/docs", "postgresql://app@db.example/docs"),
        ("postgresql://db.example/docs?password=pw", "postgresql://db.example/docs"),
        ("postgresql://app@/docs?host=/run/pg", "postgresql://app@/docs?host=/run/pg"),
        ("host=db.example dbname=docs password=pw", "postgresql://db.example/docs"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    address = parse_address(url)
    assert str(address) == shown
    for text in (str(address), repr(address), address.conninfo()):
        assert "pw" not in text
    if "pw" in url:
        assert address.environment()["PGPASSWORD"] == "pw"
    else:
        assert "PGPASSWORD" not in address.environment()


def test_the_given_password_wins() -> None:
    address = parse_address("postgresql://app:old@db/docs", Secret("new"))
    assert address.environment()["PGPASSWORD"] == "new"


def test_options_reach_the_programs() -> None:
    address = parse_address("postgresql://app@db/docs?sslmode=verify-full&connect_timeout=3")
    assert "sslmode=verify-full" in address.conninfo()


@pytest.mark.parametrize("url", ["mysql://app:hunter2@db/docs", "postgresql://app:hunter2@[db/x"])
def test_what_libpq_does_not_understand_is_refused_unseen(url: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_address(url)
    assert "hunter2" not in raised.value.diagnostics()


def test_a_secret_that_cannot_be_hidden_is_refused() -> None:
    with pytest.raises(PolicyError, match="sslpassword") as raised:
        parse_address("postgresql://app@db/docs?sslpassword=hunter2")
    assert "hunter2" not in raised.value.diagnostics()
