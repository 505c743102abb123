"""Progress on a terminal, off it, and in JSON mode."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from llmvault.cli.bars import Bars
from llmvault.cli.output import Output
from llmvault.cli.progress import Lines, progress
from llmvault.core.progress import Progress, Silent
from llmvault.core.units import parse_size
from tests.fakes.screen import Screen
from tests.fakes.stepping_clock import SteppingClock

MIB = 1 << 20


def console_on(screen: Screen) -> Console:
    return Console(file=screen, force_terminal=True, width=100, color_system=None, _environ={})


Work = Callable[[Progress, SteppingClock], None]


def run_in_lines(work: Work) -> list[str]:
    written: list[str] = []
    clock = SteppingClock()
    work(Lines(written.append, clock), clock)
    return written


def run_in_bars(work: Work) -> list[str]:
    """Return what remains on the terminal when all is done."""
    screen, clock = Screen(), SteppingClock()
    with Bars(console_on(screen), clock) as bars:
        work(bars, clock)
    return screen.lines


def seen_in_bars(work: Work) -> list[str]:
    """Return what is on the terminal while the bars are there."""
    screen, clock = Screen(), SteppingClock()
    with Bars(console_on(screen), clock) as bars:
        work(bars, clock)
        bars.redraw()
        return screen.lines


def one_task(told: Progress, clock: SteppingClock) -> None:
    told.start("models", int(88.3 * MIB))
    clock.sleep(12.1)
    told.advance("models", int(88.3 * MIB))
    told.finish("models")


def test_a_finished_task_leaves_one_line_in_either_way() -> None:
    assert run_in_lines(one_task)[-1] == "models  88.3 MiB  12.1 s"
    assert run_in_bars(one_task) == ["models  88.3 MiB  12.1 s"]


def test_a_note_ends_the_line() -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.start("models", None)
        clock.sleep(1)
        told.finish("models", "nothing changed")

    assert run_in_lines(work)[-1] == "models  1 s  nothing changed"
    assert run_in_bars(work) == ["models  1 s  nothing changed"]


def test_a_task_that_stopped_early_does_not_claim_its_total() -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.start("models", 100 * MIB)
        clock.sleep(1)
        told.advance("models", 40 * MIB)
        told.finish("models", "the disk is full")

    expected = "models  40 MiB of 100 MiB  1 s  the disk is full"
    assert run_in_lines(work)[-1] == expected
    assert run_in_bars(work) == [expected]


def test_lines_come_at_most_every_ten_seconds_for_each_task() -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.start("a", 100 * MIB)
        told.start("b", None)
        for step in range(1, 101):
            clock.sleep(0.25)
            told.advance("a", step * MIB)
            told.advance("b", step * MIB)

    lines = run_in_lines(work)
    assert lines == [
        "a: started  100 MiB",
        "b: started",
        "a:  40 MiB of 100 MiB  4 MiB/s  15 s left",
        "b:  40 MiB  4 MiB/s",
        "a:  80 MiB of 100 MiB  4 MiB/s  5 s left",
        "b:  80 MiB  4 MiB/s",
    ]


def test_a_bar_shows_bytes_rate_and_time_left() -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.start("models", 100 * MIB)
        clock.sleep(5)
        told.advance("models", 20 * MIB)

    (line,) = seen_in_bars(work)
    assert line.split("━")[0] == "models "
    assert " ".join(line.split("━")[-1].split()) == "20 MiB of 100 MiB 4 MiB/s 20 s left"


def test_a_bar_without_total_shows_bytes_and_rate() -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.start("database", None)
        clock.sleep(2)
        told.advance("database", 20 * MIB)

    (line,) = seen_in_bars(work)
    assert " ".join(line.split("━")[-1].split()) == "20 MiB 10 MiB/s"


def test_several_tasks_have_a_bar_each() -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.start("models", 100)
        told.start("documents", None)

    assert [line.split()[0] for line in seen_in_bars(work)] == ["models", "documents"]


def test_bars_are_gone_when_the_work_ended_badly() -> None:
    screen = Screen()
    with pytest.raises(KeyboardInterrupt), Bars(console_on(screen), SteppingClock()) as bars:
        bars.start("models", 100)
        raise KeyboardInterrupt
    assert screen.lines == []
    assert screen.drawn.rindex("\x1b[?25h") > screen.drawn.rindex("\x1b[?25l")


def test_a_remark_meanwhile_stays_above_the_bars() -> None:
    screen = Screen()
    console = console_on(screen)
    with Bars(console, SteppingClock()) as bars:
        bars.start("models", 100)
        console.print("warning: look here")
        bars.redraw()
        assert [line.split()[0] for line in screen.lines] == ["warning:", "models"]
    assert screen.lines == ["warning: look here"]


def test_the_terminal_is_not_flooded() -> None:
    screen = Screen()
    clock = SteppingClock()
    with Bars(console_on(screen), clock) as bars:
        bars.start("models", 100_000)
        for done in range(20_000):
            bars.advance("models", done)
    assert len(screen.drawn) < 20_000


@pytest.mark.parametrize("run", [run_in_lines, run_in_bars])
def test_calls_out_of_order_do_no_harm(
    run: Callable[[Work], list[str]],
) -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.advance("unknown", 5)
        told.finish("unknown")
        told.finish("refused", "the source is not there")
        told.start("twice", 10)
        told.advance("twice", 8)
        told.start("twice", 20)
        clock.sleep(1)
        told.advance("twice", 20)
        told.finish("twice")
        told.advance("twice", 20)

    lines = [line for line in run(work) if "started" not in line]
    assert lines == ["refused  the source is not there", "twice  20 B  1 s"]


@pytest.mark.parametrize("run", [run_in_lines, run_in_bars])
def test_many_threads_tell_their_tasks_at_once(
    run: Callable[[Work], list[str]],
) -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        def one(number: int) -> None:
            task = f"source-{number:02}"
            told.start(task, 500 * MIB)
            for done in range(501):
                told.advance(task, done * MIB)
            told.finish(task)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(24)))

    lines = sorted(line for line in run(work) if "started" not in line)
    assert lines == [f"source-{number:02}  500 MiB  0 s" for number in range(24)]


def test_names_are_neither_markup_nor_terminal_commands() -> None:
    def work(told: Progress, clock: SteppingClock) -> None:
        told.start("[red]x\x1b[2J", 10)
        told.finish("[red]x\x1b[2J")

    assert run_in_bars(work) == [r"[red]x\x1b[2J  0 s"]


class Streams:
    """Standard output and error of a command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, terminal: bool, term: str) -> None:
        self.out = io.StringIO()
        self.err = Screen() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stdout", self.out)
        monkeypatch.setattr(sys, "stderr", self.err)
        monkeypatch.setenv("TERM", term)


@pytest.mark.parametrize(
    ("terminal", "term", "json", "kind"),
    [
        (True, "xterm", False, Bars),
        (True, "xterm", True, Bars),
        (True, "dumb", False, Lines),
        (False, "xterm", False, Lines),
        (False, "xterm", True, Silent),
    ],
)
def test_the_way_of_telling_fits_the_stream(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, term: str, json: bool, kind: type
) -> None:
    streams = Streams(monkeypatch, terminal=terminal, term=term)
    with progress(Output(json=json), SteppingClock()) as told:
        assert type(told) is kind
        told.start("models", parse_size("3MiB"))
        told.advance("models", 3 * MIB)
        told.finish("models")
    assert streams.out.getvalue() == ""
    assert ("models  3 MiB  0 s" in streams.err.getvalue()) is (kind is not Silent)
