"""What comes back after an attack, and what stays as restic left it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from llmvault.locks.undelete import Return, plan_undelete
from llmvault.objectstore.model import Version

START = datetime(2026, 1, 2, tzinfo=UTC)


def at(key: str, hours: int, identity: str, *, marker: bool = False) -> Version:
    return Version(key, identity, False, marker, START + timedelta(hours=hours))


def returns(*versions: Version) -> tuple[Return, ...]:
    """The attack began after hour 5."""
    return plan_undelete(versions, START + timedelta(hours=5), "p/locks/").returns


def test_what_the_attack_hid_comes_back() -> None:
    assert returns(at("p/data/a", 6, "m", marker=True), at("p/data/a", 1, "v")) == (
        Return("p/data/a", "v", ("m",)),
    )


def test_what_was_hidden_twice_comes_back() -> None:
    found = returns(
        at("p/a", 8, "m2", marker=True), at("p/a", 6, "m1", marker=True), at("p/a", 1, "v")
    )
    assert found == (Return("p/a", "v", ("m2", "m1")),)


def test_what_restic_pruned_before_stays_hidden() -> None:
    assert returns(at("p/a", 3, "m", marker=True), at("p/a", 1, "v")) == ()
    assert (
        returns(at("p/a", 6, "m2", marker=True), at("p/a", 3, "m", marker=True), at("p/a", 1, "v"))
        == ()
    )


def test_what_was_overwritten_is_put_on_top_again() -> None:
    assert returns(at("p/config", 6, "bad"), at("p/config", 1, "good")) == (
        Return("p/config", "good", ()),
    )
    hidden_too = (at("p/c", 7, "m", marker=True), at("p/c", 6, "bad"), at("p/c", 1, "good"))
    assert returns(*hidden_too) == (Return("p/c", "good", ()),)


def test_what_came_later_and_lock_files_are_left_alone() -> None:
    assert returns(at("p/data/new", 6, "v")) == ()
    assert returns(at("p/locks/l", 6, "m", marker=True), at("p/locks/l", 1, "v")) == ()
    assert returns(at("p/data/same", 1, "v")) == ()


def test_the_time_of_the_attack_is_told() -> None:
    plan = plan_undelete(
        [
            at("a", 6, "m", marker=True), at("a", 1, "v"),
            at("b", 9, "m", marker=True), at("b", 1, "v"),
        ],
        START + timedelta(hours=5),
        "locks/",
    )  # fmt: skip
    assert (plan.first, plan.last) == (START + timedelta(hours=6), START + timedelta(hours=9))
