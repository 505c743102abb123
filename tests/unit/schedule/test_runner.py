"""The threads that wake the scheduler."""

from __future__ import annotations

from datetime import timedelta
from threading import Event

from llmvault.core.clock import SystemClock
from llmvault.core.ids import RandomIds
from llmvault.schedule.runner import Threads

SECONDS = 60.0


def test_what_is_asked_for_while_it_looks_is_not_put_off() -> None:
    threads, came, looks = Threads(SystemClock(), RandomIds(), 1), Event(), 0

    def look() -> None:
        nonlocal looks
        threads.answered()
        looks += 1
        if looks == 1:
            threads.tick_now(look)  # as when a run ends just now
        else:
            came.set()
        threads.tick_in(look, timedelta(hours=1))

    threads.start()
    try:
        threads.tick_now(look)
        assert came.wait(SECONDS)
    finally:
        threads.stop()
