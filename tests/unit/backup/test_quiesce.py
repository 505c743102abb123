"""Writers are held still, and always set free: with real commands and the real watchdog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmvault.backup.quiesce import Hook, held_still
from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.core.verdict import Check, Verdict

WAIT_SECONDS = 30


def hook(place: Path, **changes: object) -> Hook:
    """Return a hook that writes down what it does."""
    settings: dict[str, object] = {
        "name": "ingest",
        "freeze": writing(place, "freeze"),
        "thaw": writing(place, "thaw"),
        "freeze_timeout": 10.0,
        "timeout": 60.0,
    }
    return Hook(**{**settings, **changes})  # type: ignore[arg-type]


def writing(place: Path, word: str) -> tuple[str, ...]:
    return ("sh", "-c", f'echo {word} >> "$0"', str(place / "log"))


def log(place: Path) -> list[str]:
    path = place / "log"
    return path.read_text().split() if path.exists() else []


def hold(*hooks: Hook) -> list[Check]:
    with held_still(LocalRunner(os.environ), SystemClock(), hooks) as stillness:
        pass
    return stillness.checks


def wait_for(place: Path, words: list[str]) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while log(place) != words:
        assert time.monotonic() < give_up, log(place)
        time.sleep(0.02)


def test_writers_are_frozen_and_thawed_in_reverse_order(tmp_path: Path) -> None:
    one = hook(tmp_path, freeze=writing(tmp_path, "f1"), thaw=writing(tmp_path, "t1"))
    two = hook(tmp_path, freeze=writing(tmp_path, "f2"), thaw=writing(tmp_path, "t2"))
    checks = hold(one, two)
    assert log(tmp_path) == ["f1", "f2", "t2", "t1"]
    assert [check.verdict for check in checks] == [Verdict.PROVEN] * 2


def test_no_hooks_no_checks() -> None:
    assert hold() == []


def test_an_error_while_they_are_held_thaws(tmp_path: Path) -> None:
    runner = LocalRunner(os.environ)
    with pytest.raises(KeyError), held_still(runner, SystemClock(), [hook(tmp_path)]):
        raise KeyError
    assert log(tmp_path) == ["freeze", "thaw"]


@pytest.mark.parametrize(
    ("freeze", "cause"),
    [
        (("sh", "-c", "echo broken >&2; exit 3"), "exit code 3: broken"),
        (("sleep", "600"), "did not finish within 0.3 s"),
        (("no-such-program",), "is not installed"),
    ],
)
def test_a_freeze_that_fails_or_hangs_is_undone(
    freeze: tuple[str, ...], cause: str, tmp_path: Path
) -> None:
    (check,) = hold(hook(tmp_path, freeze=freeze, freeze_timeout=0.3))
    assert check.verdict is Verdict.UNPROVEN
    assert cause in check.detail
    assert log(tmp_path) == ["thaw"]


def test_writers_are_set_free_when_the_time_is_over(tmp_path: Path) -> None:
    runner = LocalRunner(os.environ)
    short = hook(tmp_path, timeout=0.2, freeze_timeout=1.0)
    with held_still(runner, SystemClock(), [short]) as stillness:
        wait_for(tmp_path, ["freeze", "thaw"])
    assert log(tmp_path) == ["freeze", "thaw"]
    (check,) = stillness.checks
    assert check.verdict is Verdict.UNPROVEN
    assert "while sources were still being captured" in check.detail


def test_a_thaw_that_fails_is_tried_again(tmp_path: Path) -> None:
    flaky = ("sh", "-c", 'echo thaw >> "$0"; test $(wc -l < "$0") -ge 3', str(tmp_path / "log"))
    (check,) = hold(hook(tmp_path, thaw=flaky))
    assert check.verdict is Verdict.PROVEN
    assert log(tmp_path) == ["freeze", "thaw", "thaw"]


def test_a_thaw_that_never_works_is_a_failure_with_what_to_do(tmp_path: Path) -> None:
    (check,) = hold(hook(tmp_path, thaw=("false",)))
    assert check.verdict is Verdict.FAILED
    assert "next: run it by hand: false" in check.detail


HOLDING = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from llmvault.core.clock import SystemClock
from llmvault.core.process import LocalRunner
from llmvault.backup.quiesce import held_still
from tests.unit.backup.test_quiesce import hook
with held_still(LocalRunner(os.environ), SystemClock(), [hook(Path(sys.argv[1]))]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_writers_are_set_free_when_the_backup_is_killed(
    number: signal.Signals, tmp_path: Path
) -> None:
    root = str(Path(__file__).parents[3])
    argv = [sys.executable, "-c", HOLDING, str(tmp_path), root]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert log(tmp_path) == ["freeze"]
        os.killpg(process.pid, number)
        process.wait(WAIT_SECONDS)
    wait_for(tmp_path, ["freeze", "thaw"])
