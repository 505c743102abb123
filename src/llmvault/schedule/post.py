"""What a person sends by hand, or a job: test messages and digests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from llmvault.app import App
from llmvault.app.notify import Signal, post_of, targets_named
from llmvault.catalog.model import drill_in_short, in_short
from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.files import write_durably
from llmvault.core.units import format_time
from llmvault.drill.plan import CLOCK_TOLERANCE
from llmvault.notify.model import Delivered
from llmvault.policy.notify import PingTarget, Reader
from llmvault.schedule.digest import Digest, make_digest
from llmvault.schedule.digest_text import message_of_digest, page_of
from llmvault.schedule.fleet import standings
from llmvault.schedule.judge import Judge, Troubles
from llmvault.schedule.letters import trial_message
from llmvault.schedule.model import BEATS_UNTIL_SILENT
from llmvault.schedule.plan import jobs_of
from llmvault.schedule.wiring import journal_of

if TYPE_CHECKING:
    from llmvault.catalog.model import HostEntry

_NEVER = Event()


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a message to a target.

    Attributes:
        state: ``delivered``, ``not delivered``, or ``delivered before``.
        cause: why it was not.
    """

    target: str
    kind: str
    state: str
    tries: int
    cause: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def try_targets(app: App, names: tuple[str, ...]) -> tuple[Sent, ...]:
    """Send a test message to targets; a check that is pinged keeps its state.

    Raises:
        PolicyError: when one is unknown or the policy has none.
    """
    post, now, host = post_of(app), app.clock.now(), app.settings.host
    sent = []
    for name, target in targets_named(app, names).items():
        message = trial_message(name, host, now)
        if isinstance(target, PingTarget):
            signal = Signal("log", target.jobs[0] if target.jobs else "test", host)
            done = post.ping(target, signal, message, _NEVER)
        else:
            done = post.send(target, message, _NEVER)
        sent.append(_sent(name, target.kind, done))
    return tuple(sent)


def digest_of(app: App, begin: datetime, end: datetime) -> Digest:
    """Return how everything stood in a period, on all hosts that share the catalog."""
    now, catalog, me = app.clock.now(), app.catalog, app.settings.host
    entries = {entry.name: entry for entry in catalog.hosts()}
    own = entries.get(me)
    if own is None or (now - own.seen).total_seconds() > BEATS_UNTIL_SILENT * own.heartbeat_s:
        entries[me] = _look(app, now)  # no scheduler runs here that would have looked
    hosts = tuple(entries[name] for name in sorted(entries))
    points, drills = catalog.newest_points(now + CLOCK_TOLERANCE), catalog.newest_drills()
    stand = standings(map(in_short, hosts), points, map(drill_in_short, drills), now)
    return make_digest(me, now, (begin, end), stand, hosts, catalog.runs_between(begin, end))


def send_digest(app: App, made: Digest, names: tuple[str, ...]) -> tuple[Sent, ...]:
    """Send a digest; a target that took one of this very period gets it no second time.

    Raises:
        PolicyError: when a target is unknown, cannot read, or none gets digests.
    """
    post, message = post_of(app), message_of_digest(made)
    file = app.settings.state / "notify" / "digests.json"
    period = f"{format_time(made.begin)}/{format_time(made.end)}"
    before, sent = _read(file), []
    for name, target in _readers(app, names):
        if before.get(name) == period:
            sent.append(Sent(name, target.kind, "delivered before", 0))
            continue
        done = post.send(target, message, _NEVER)
        sent.append(_sent(name, target.kind, done))
        if not done.cause:
            before[name] = period
            write_durably(file, json.dumps(before).encode())
    return tuple(sent)


def write_page(file: Path, made: Digest) -> None:
    """Write a digest as a page, for its owner only.

    Raises:
        UnavailableError: when it cannot be written.
    """
    try:
        write_durably(file.absolute(), page_of(made).encode())
    except OSError as error:
        raise UnavailableError(str(file), f"cannot be written: {error.strerror}") from error


def _look(app: App, now: datetime) -> HostEntry:
    """Return how this host stands, as its scheduler would tell."""
    me, journal = app.settings.host, journal_of(app)
    jobs = jobs_of(app.policy, me)
    journal.follow(jobs)
    journal.refresh(now)
    seen = {job.name: journal.known(job, now) for job in jobs}
    judge = Judge(me, now, timedelta(seconds=60))
    troubles = Troubles(None, None, None, edited=False)
    found = judge.look(lambda: app.catalog, app.loaded, jobs, seen, troubles, now)
    return judge.entry(app.loaded, jobs, found, now)


def _readers(app: App, names: tuple[str, ...]) -> list[tuple[str, Reader]]:
    chosen: list[tuple[str, Reader]] = []
    for name, target in targets_named(app, names).items():
        if isinstance(target, PingTarget):
            if names:
                raise PolicyError(
                    f'target "{name}"', "a ping tells nobody a digest", "name another target"
                )
        elif names or target.digest:
            chosen.append((name, target))
    if not chosen:
        raise PolicyError(
            "notify digest", "no target gets digests", "set digest: true at one under notify:"
        )
    return chosen


def _sent(name: str, kind: str, done: Delivered) -> Sent:
    state = "not delivered" if done.cause else "delivered"
    return Sent(name, kind, state, done.tries, done.cause)


def _read(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}  # it may be sent twice then, which is better than not at all
