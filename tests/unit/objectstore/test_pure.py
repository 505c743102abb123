"""Addresses, refusals, costs and the API's shapes."""

from __future__ import annotations

import pytest

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.objectstore.address import parse_location, region_of
from llmvault.objectstore.clocks import refuse_skew
from llmvault.objectstore.costs import Prices, estimate
from llmvault.objectstore.errors import AbsentError, DeclinedError, LackingError, error_for
from llmvault.objectstore.model import LifecycleRule, Location
from llmvault.objectstore.shapes import lifecycle_rule, raw_rule, statements


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3:https://host:9000/b/a/p", Location("https://host:9000", "b", "a/p")),
        ("s3:http://127.0.0.1/b", Location("http://127.0.0.1", "b", "")),
        ("s3:s3.amazonaws.com/b/p/", Location("https://s3.amazonaws.com", "b", "p")),
        ("s3://host/b/p", Location("https://host", "b", "p")),
    ],
)
def test_addresses_of_restic(url: str, location: Location) -> None:
    assert parse_location(url) == location
    assert location.name(location.key("data/aa/x")) == "data/aa/x"


@pytest.mark.parametrize("url", ["s3:", "s3:https://host", "s3:https:///b", "rest:http://h/"])
def test_what_is_no_bucket(url: str) -> None:
    with pytest.raises(ValueError):
        parse_location(url)


def test_regions_are_read_off_amazon_addresses() -> None:
    assert region_of("https://s3.eu-central-1.amazonaws.com") == "eu-central-1"
    assert region_of("https://s3.example.org") == "us-east-1"


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("AccessDenied", "", RefusedError),
        ("403", "", RefusedError),
        ("InvalidBucketState", "", RefusedError),
        ("InvalidRequest", "Object is WORM protected", RefusedError),
        ("NoSuchKey", "", AbsentError),
        ("NotImplemented", "", LackingError),
        ("Weird", "", DeclinedError),
        ("InvalidRequest", "Missing a header", DeclinedError),
    ],
)
def test_what_an_answer_means(code: str, message: str, kind: type[Exception]) -> None:
    assert type(error_for("bucket", "put_object", code, message)) is kind


@pytest.mark.parametrize(
    "code", ["RequestTimeTooSkewed", "SignatureDoesNotMatch", "SlowDown", "InternalError", "503"]
)
def test_a_no_for_another_reason_is_no_refusal(code: str) -> None:
    found = error_for("bucket", "delete_object", code, "")
    assert type(found) is UnavailableError


def test_clocks_may_differ_a_little() -> None:
    refuse_skew("bucket", None)
    refuse_skew("bucket", 200.0)
    for skew in (-400.0, 8 * 3600.0):
        with pytest.raises(RefusedError, match="clock"):
            refuse_skew("bucket", skew)


PRICES = Prices("EUR", 0.4, 80.0, 10.0, 50.0, 43_200.0, "list of 2026-01-01")


def test_a_restore_costs_requests_and_egress() -> None:
    found = estimate("far", 1_000 * 10**9, 64 << 20, "STANDARD", PRICES)
    assert found.requests == 14_902 + 20
    assert found.cost == pytest.approx(80_000 + 14.922 * 0.4, abs=1e-3)
    assert (found.wait_s, found.currency, found.basis) == (0.0, "EUR", "list of 2026-01-01")


def test_a_cold_one_costs_retrieval_and_waiting_too() -> None:
    warm = estimate("far", 10**9, 64 << 20, "STANDARD", PRICES)
    cold = estimate("far", 10**9, 64 << 20, "GLACIER", PRICES)
    assert cold.cost is not None and warm.cost is not None
    assert cold.cost - warm.cost == pytest.approx(10.0 + 15 / 1000 * 50.0, abs=1e-3)
    assert cold.wait_s == 43_200.0


def test_without_prices_bytes_and_requests_are_told() -> None:
    found = estimate("far", 0, 64 << 20, "STANDARD", None)
    assert (found.bytes, found.requests, found.cost) == (0, 20, None)


def test_rules_of_others_are_put_back_as_they_were() -> None:
    raw = {
        "ID": "x", "Status": "Enabled", "Filter": {"And": {"Prefix": "p", "Tags": []}},
        "Transitions": [{"Days": 3, "StorageClass": "GLACIER"}],
    }  # fmt: skip
    rule = lifecycle_rule(raw)
    assert (rule.prefix, rule.noncurrent_days) == ("p", None)
    assert raw_rule(rule) == raw
    ours = LifecycleRule("o", "p/", True, 3, 7)
    assert lifecycle_rule(raw_rule(ours)) == ours


@pytest.mark.parametrize("text", ["[]", "<html>", '{"Statement": ["x"]}', "3"])
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(ValueError):
        statements(text)
