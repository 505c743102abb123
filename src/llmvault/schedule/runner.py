"""The scheduler's process: the only user of APScheduler.

APScheduler wakes the daemon and carries runs out in its threads. What is due is decided by
``plan``, from the catalog: APScheduler's own stores run a job twice when two schedulers share them,
and its cron expressions count weekdays from Monday and happen twice when clocks are put back
(docs/decisions/0011-due-runs-come-from-the-catalog.md).
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, timedelta
from queue import Empty, SimpleQueue
from threading import Event, Lock

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from llmvault.core.clock import Clock
from llmvault.core.ids import Ids
from llmvault.schedule.daemon import Daemon

_log = logging.getLogger(__name__)
logging.getLogger("apscheduler").setLevel(logging.ERROR)  # what it warns of is told by findings
_TICK = "tick"
_CHECK_SECONDS = 5.0
_JUMP_SECONDS = 3.0


class Threads:
    """Threads for runs, and the tick that wakes the daemon."""

    def __init__(self, clock: Clock, ids: Ids, parallel: int) -> None:
        self._clock = clock
        self._ids = ids
        self.crash: BaseException | None = None
        self.calls: SimpleQueue[int] = SimpleQueue()
        self._asked = False
        self._planning = Lock()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(parallel), _TICK: ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(self._failed, EVENT_JOB_ERROR)

    def submit(self, work: Callable[[], None]) -> None:
        """Carry something out in a thread."""
        self._scheduler.add_job(work, id=self._ids.token())

    def tick_now(self, tick: Callable[[], None]) -> None:
        """Call `tick` as soon as possible, and again at once if it goes on now."""
        with self._planning:
            self._asked = True
            self._plan(tick, timedelta())

    def tick_in(self, tick: Callable[[], None], wait: timedelta) -> None:
        """Call `tick` after a while, or sooner if :meth:`tick_now` asked for that meanwhile."""
        with self._planning:
            self._plan(tick, timedelta() if self._asked else wait)

    def answered(self) -> None:
        """Take note that a tick begins, which answers all that was asked for until now."""
        with self._planning:
            self._asked = False

    def _plan(self, tick: Callable[[], None], wait: timedelta) -> None:
        at = self._clock.now() + wait
        self._scheduler.add_job(
            tick,
            "date",
            run_date=at,
            id=_TICK,
            executor=_TICK,
            replace_existing=True,
            max_instances=2,  # one that runs, and one that was asked for meanwhile
        )

    def wake(self) -> None:
        """Have the daemon look again soon."""
        self.calls.put(0)

    def start(self) -> None:
        """Start."""
        self._scheduler.start()

    def stop(self) -> None:
        """Wait for what goes on, then end the threads."""
        self._scheduler.shutdown(wait=True)

    def _failed(self, event: JobExecutionEvent) -> None:
        _log.error("%s\n%s", event.exception, event.traceback)
        self.crash = event.exception


def run_daemon(daemon: Daemon, threads: Threads, clock: Clock) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads the policy anew.

    Raises:
        BaseException: what an error in the scheduler itself was; the service manager restarts it.
    """
    hup = Event()
    ours = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    # a handler may interrupt whatever the main thread does, locks held: it must take none
    handlers = {one: signal.signal(one, lambda one, _: threads.calls.put(one)) for one in ours}

    ticking = Lock()

    def tick() -> None:
        with ticking:
            if daemon.stop.is_set():
                return
            threads.answered()
            if hup.is_set():
                hup.clear()
                daemon.reload()
            threads.tick_in(tick, daemon.tick())

    threads.start()
    threads.tick_now(tick)
    try:
        _watch(daemon, threads, tick, hup, clock)
    finally:
        daemon.stop.set()
        with ticking:  # while its threads are waited for, APScheduler takes no more work: it locks
            pass
        threads.stop()
        daemon.tick()
        daemon.leave()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if threads.crash is not None:
        raise threads.crash


def _watch(
    daemon: Daemon, threads: Threads, tick: Callable[[], None], hup: Event, clock: Clock
) -> None:
    """Wait; have the daemon look when it is called, and when the machine's clock was set."""
    offset = clock.now().timestamp() - clock.monotonic()
    while not daemon.stop.is_set() and threads.crash is None:
        calls = _calls(threads.calls)
        if signal.SIGHUP in calls:
            hup.set()
        if calls & {signal.SIGTERM, signal.SIGINT}:
            return
        seen = clock.now().timestamp() - clock.monotonic()
        if abs(seen - offset) > _JUMP_SECONDS:
            _log.warning("the clock was set by %.0f s", seen - offset)
            offset, calls = seen, {0}
        if calls:
            threads.tick_now(tick)


def _calls(queue: SimpleQueue[int]) -> set[int]:
    """Return what was asked for since the last look; nothing when nothing was for a while."""
    calls: set[int] = set()
    with suppress(Empty):
        calls.add(queue.get(timeout=_CHECK_SECONDS))
        while True:
            calls.add(queue.get_nowait())
    return calls
