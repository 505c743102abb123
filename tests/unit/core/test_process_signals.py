"""Being told to end while a program is being started: it is stopped, or was never there."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from llmvault.core.process import Command, LocalRunner


def sleepers(mark: str) -> set[int]:
    """Return the processes that were started with a mark in their environment."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"LLMVAULT_TEST_MARK={mark}".encode() in variables and int(place.name) != os.getpid():
            found.add(int(place.name))
    return found


def gone(mark: str) -> bool:
    """Return whether nothing with the mark runs, now or very soon."""
    give_up = time.monotonic() + 2
    while sleepers(mark):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("tenths", range(40))
def test_an_interruption_leaves_no_child(tmp_path: Path, tenths: int) -> None:
    runner = LocalRunner({**os.environ, "LLMVAULT_TEST_MARK": str(tmp_path)})
    timer = threading.Timer(tenths / 10_000, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        with runner.start(Command(("sleep", "30"))):
            time.sleep(1)
    timer.join()
    assert gone(str(tmp_path))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_is_not_lost_when_nothing_can_be_started(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program")
    program.chmod(0o755)
    runner = LocalRunner({"PATH": str(tmp_path)})
    previous = signal.getsignal(signal.SIGTERM)
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        timer = threading.Timer(0.0005, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        while timer.is_alive():
            with pytest.raises(Exception, match="cannot be started"):
                runner.start(Command(("program",)))
        timer.join()
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert heard == [signal.SIGTERM]
