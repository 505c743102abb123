"""The keep rules against restic's own: thousands of histories, and the same snapshots stay.

``LLMVAULT_ORACLE_EXAMPLES`` says how many policies are tried (``scripts/test-retention``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from llmvault.core.spans import Span
from llmvault.retention.model import UNLIMITED, KeepRules, Point, Rank
from llmvault.retention.rules import kept_by_rules
from tests.fakes.quick_repository import PASSWORD, write_quick_repository
from tests.fakes.snapshots import snapshot, write_snapshots

pytestmark = pytest.mark.integration

EXAMPLES = int(os.environ.get("LLMVAULT_ORACLE_EXAMPLES", "25"))
HISTORIES = 80
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
SPANNED = RULES[1:]
EPOCH = datetime(2016, 1, 1, tzinfo=UTC)
# Times at which calendars are odd: ends of months and years, leap days, ISO weeks of other years.
ODD = [
    datetime.fromisoformat(f"{text}Z")
    for text in (
        "2016-02-29T23:59:59", "2017-01-01T00:00:00", "2018-12-31T12:00:00", "2019-12-30T00:00:00",
        "2020-02-29T00:00:00", "2020-12-31T23:00:00", "2021-01-03T23:00:00", "2021-01-04T00:00:00",
        "2024-02-29T01:00:00", "2024-03-31T01:30:00", "2024-10-27T00:30:00", "2024-12-30T00:00:00",
        "2025-03-01T00:00:00",
    )
]  # fmt: skip


@dataclass(frozen=True)
class History:
    """Snapshots of one host: second -> tags."""

    snapshots: dict[datetime, tuple[str, ...]]


@dataclass(frozen=True)
class Batch:
    """Many histories; the one that differs is shown by the assertion."""

    histories: list[History]

    def __repr__(self) -> str:
        return f"Batch of {len(self.histories)}"


def _gaps() -> st.SearchStrategy[timedelta]:
    seconds = st.integers(1, 7200)
    days = st.integers(1, 40).map(lambda count: count * 86_400)
    return st.one_of(seconds, days, st.just(3600), st.just(86_400), st.just(604_800)).map(
        lambda count: timedelta(seconds=count)
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    beginning = draw(
        st.one_of(
            st.sampled_from(ODD),
            st.integers(0, 3000 * 86_400).map(lambda count: EPOCH + timedelta(seconds=count)),
        )
    )
    times = [beginning]
    for gap in draw(st.lists(_gaps(), max_size=24)):
        times.append(times[-1] + gap)
    tags = st.sampled_from([(), (), (), ("release",), ("audit",), ("release", "audit")])
    return History({time: draw(tags) for time in times})


# Plain ones end exactly at a snapshot now and then, where "before" and "until" differ.
spans = st.one_of(
    st.builds(Span, days=st.integers(1, 9)),
    st.builds(Span, hours=st.integers(1, 5)),
    st.builds(
        Span,
        years=st.integers(0, 3),
        months=st.integers(0, 14),
        days=st.integers(0, 45),
        hours=st.integers(0, 48),
    ).filter(lambda span: span != Span()),
)
counts = st.one_of(st.integers(1, 6), st.integers(7, 30), st.just(UNLIMITED))


@st.composite
def keep_rules(draw: st.DrawFn) -> KeepRules:
    chosen = st.sets(st.sampled_from(RULES), max_size=3)
    spanned = st.sets(st.sampled_from(SPANNED), max_size=2)
    rules = KeepRules(
        counts={name: draw(counts) for name in sorted(draw(chosen))},
        within=draw(st.one_of(st.none(), st.none(), spans)),
        within_by={f"within_{name}": draw(spans) for name in sorted(draw(spanned))},
        tags=draw(
            st.sampled_from([(), (), (frozenset({"release"}),), (frozenset({"release", "audit"}),)])
        ),
    )
    # with tags alone restic refuses the whole call where they keep nothing; see the test below
    always = rules.counts or rules.within or rules.within_by
    return rules if always else replace(rules, counts={draw(st.sampled_from(RULES)): draw(counts)})


def arguments(rules: KeepRules) -> Iterator[str]:
    for name, count in rules.counts.items():
        yield from (f"--keep-{name}", "unlimited" if count == UNLIMITED else str(count))
    if rules.within:
        yield from ("--keep-within", _restic_span(rules.within))
    for name, span in rules.within_by.items():
        yield from (f"--keep-{name.replace('_', '-')}", _restic_span(span))
    for tags in rules.tags:
        yield from ("--keep-tag", ",".join(sorted(tags)))


def _restic_span(span: Span) -> str:
    return f"{span.years}y{span.months}m{span.days}d{span.hours}h"


class RefusesError(Exception):
    """Restic refuses to remove everything."""


def ask_restic(repository: Path, rules: KeepRules) -> dict[str, dict[str, set[str]]]:
    """Return host -> kept snapshot -> reasons, as restic's dry run tells."""
    argv = ["restic", "forget", "--dry-run", "--json", "--no-lock", "--no-cache"]
    argv += ["--group-by", "host", *arguments(rules)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")},
        "RESTIC_REPOSITORY": str(repository),
        "RESTIC_PASSWORD": PASSWORD,
    }
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if "refusing to delete last snapshot" in done.stderr:
        raise RefusesError
    assert done.returncode == 0, (argv, done.stderr)
    groups: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[0])
    return {
        group["host"]: {
            reason["snapshot"]["id"]: set(reason["matches"]) for reason in group["reasons"] or []
        }
        for group in groups
    }


def told_as_restic(rule: str) -> str:
    """Return the words that restic has for one of our rules."""
    if rule == "tag":
        return "has tags"
    if rule == "within":
        return "within"
    head, _, _ = rule.partition(" within ")
    plain = head.removeprefix("oldest ")
    oldest = "oldest " if head != plain else ""
    return f"{oldest}{plain} {'within' if ' within ' in rule else 'snapshot'}"


def simplified(matches: set[str]) -> set[str]:
    """Return restic's reasons without spans and tags, which are written differently."""
    found = set()
    for match in matches:
        words = match.split()
        if match.startswith(("has tags", "within")):
            found.add("has tags" if words[0] == "has" else "within")
        else:
            found.add(" ".join(words[: 3 if words[0] == "oldest" else 2]))
    return found


def ours(
    history: dict[str, tuple[datetime, tuple[str, ...]]], rules: KeepRules
) -> dict[str, set[str]]:
    points = [
        Point(
            id=identity,
            plan="p",
            host="h",
            time=time,
            tags=(frozenset(tags),),
            snapshots={identity: ""},
            complete=True,
            rank=Rank.PROVEN,
            rank_reason="",
            sources={},
            bytes_added=0,
        )
        for identity, (time, tags) in history.items()
    ]
    return {
        identity: {told_as_restic(reason.rule) for reason in reasons}
        for identity, reasons in kept_by_rules(points, rules).items()
    }


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize=EXAMPLES == 25,
    phases=[Phase.generate],  # each counterexample is small, and a smaller one takes minutes
)
@given(keep_rules(), st.lists(histories(), min_size=HISTORIES, max_size=HISTORIES).map(Batch))
def test_what_stays_is_what_restic_keeps(rules: KeepRules, made: Batch) -> None:
    base = Path(tempfile.mkdtemp(prefix="llmvault-oracle-", dir=_memory()))
    try:
        repository = write_quick_repository(base / "repository")
        hosts: dict[str, dict[str, tuple[datetime, tuple[str, ...]]]] = {}
        for number, history in enumerate(made.histories):
            raw = [
                snapshot(time, host=f"host-{number}", tags=tags)
                for time, tags in history.snapshots.items()
            ]
            ids = write_snapshots(repository, raw)
            hosts[f"host-{number}"] = dict(zip(ids, history.snapshots.items(), strict=True))
        theirs = ask_restic(repository, rules)
        for host, history_of in hosts.items():
            expected = {one: simplified(why) for one, why in theirs[host].items()}
            assert ours(history_of, rules) == expected, (rules, history_of)
    finally:
        shutil.rmtree(base)


def test_where_restic_refuses_nothing_is_kept_here_either(tmp_path: Path) -> None:
    rules = KeepRules(tags=(frozenset({"release"}),))
    repository = write_quick_repository(tmp_path / "repository")
    ids = write_snapshots(repository, [snapshot(EPOCH, host="h", tags=("audit",))])
    with pytest.raises(RefusesError):
        ask_restic(repository, rules)
    assert ours({ids[0]: (EPOCH, ("audit",))}, rules) == {}


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
