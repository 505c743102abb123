"""Running programs: nothing outlives its context, nothing leaks, nothing hangs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, LocalRunner

ROOT = Path(__file__).parents[3]
needs_setpriv = pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="not run: util-linux has no setpriv here"
)


@pytest.fixture
def runner() -> LocalRunner:
    return LocalRunner({"PATH": os.environ["PATH"], "BASE": "from the runner", "BOTH": "base"})


def shell(script: str, **environment: str) -> Command:
    return Command(("sh", "-c", script), environment)


def test_a_silent_program_is_given_up_on() -> None:
    runner = LocalRunner({"PATH": os.environ["PATH"]})
    with runner.start(Command(("sleep", "60"))) as silent:
        silent.stop_if_silent(0.1)
        assert list(silent.lines()) == []
        assert silent.wait(30) != 0
        assert silent.gave_up
    argv = ("sh", "-c", "echo here; sleep 0.5; echo still")
    with runner.start(Command(argv)) as heard:
        heard.stop_if_silent(60)
        assert list(heard.lines()) == ["here", "still"]
        assert (heard.wait(30), heard.gave_up) == (0, False)


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestRun:
    def test_it_returns_what_was_printed(self, runner: LocalRunner) -> None:
        done = runner.run(shell("echo out; echo err >&2; exit 7"))
        assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 7)

    def test_bytes_that_are_no_text_are_replaced(self, runner: LocalRunner) -> None:
        assert runner.run(shell(r"printf '\377x'")).stdout == "\ufffdx"

    def test_it_hands_input_over(self, runner: LocalRunner) -> None:
        content = bytes(1 << 20)
        assert runner.run(Command(("wc", "-c")), stdin=content).stdout.split() == ["1048576"]

    def test_input_that_nobody_reads_is_no_error(self, runner: LocalRunner) -> None:
        assert runner.run(Command(("true",)), stdin=bytes(1 << 20)).exit_code == 0

    def test_without_input_there_is_none(self, runner: LocalRunner) -> None:
        assert runner.run(Command(("cat",))).stdout == ""

    def test_the_command_adds_to_the_runners_environment(self, runner: LocalRunner) -> None:
        done = runner.run(shell('echo "$BASE|$BOTH|$OWN|$HOME"', BOTH="mine", OWN="added"))
        assert done.stdout == "from the runner|mine|added|\n"

    def test_it_runs_in_the_directory_given(self, runner: LocalRunner, tmp_path: Path) -> None:
        done = runner.run(Command(("pwd", "-P"), cwd=tmp_path))
        assert done.stdout.strip() == str(tmp_path.resolve())

    def test_death_by_a_signal_is_a_negative_code(self, runner: LocalRunner) -> None:
        assert runner.run(shell("kill -9 $$")).exit_code == -signal.SIGKILL

    def test_a_missing_program_is_unavailable(self, runner: LocalRunner) -> None:
        with pytest.raises(UnavailableError, match="no-such-program: is not installed"):
            runner.run(Command(("no-such-program",)))

    def test_a_missing_directory_is_unavailable(self, runner: LocalRunner, tmp_path: Path) -> None:
        with pytest.raises(UnavailableError, match=r"true: cannot be started: .*absent"):
            runner.run(Command(("true",), cwd=tmp_path / "absent"))

    def test_a_program_that_cannot_be_executed_is_unavailable(self, tmp_path: Path) -> None:
        program = tmp_path / "program"
        program.write_bytes(b"\x7fELF nonsense")
        program.chmod(0o755)
        runner = LocalRunner({"PATH": str(tmp_path)})  # no setpriv there
        with pytest.raises(UnavailableError, match=r"program: cannot be started: .*Exec format"):
            runner.run(Command(("program",)))

    def test_a_timeout_ends_the_whole_group(self, runner: LocalRunner, tmp_path: Path) -> None:
        script = f"sleep 300 & echo $! > {tmp_path}/pid; wait"
        before = descriptors()
        with pytest.raises(UnavailableError, match=r"sh: did not finish within 0\.3 s"):
            runner.run(shell(script), timeout=0.3)
        # killed it is by now; on a busy machine the kernel may need a moment to carry it out
        wait_for(lambda: not alive(int((tmp_path / "pid").read_text())))
        assert descriptors() == before

    def test_a_child_that_keeps_the_output_open_is_ended_too(
        self, runner: LocalRunner, tmp_path: Path
    ) -> None:
        """The program itself has ended long before."""
        with pytest.raises(UnavailableError):
            runner.run(shell(f"sleep 300 & echo $! > {tmp_path}/pid"), timeout=0.3)
        pid = int((tmp_path / "pid").read_text())
        wait_for(lambda: not alive(pid))


class TestStart:
    def test_lines_come_as_they_are_written(self, runner: LocalRunner) -> None:
        with runner.start(shell("echo one; read x; echo $x; printf three"), stdin=True) as process:
            lines = process.lines()
            assert next(lines) == "one"
            process.write(b"two\n")
            assert list(lines) == ["two", "three"]
            assert process.wait() == 0
            assert not process.running()

    def test_lines_keep_bytes_that_are_no_text(self, runner: LocalRunner) -> None:
        with runner.start(shell(r"printf '\377\n'")) as process:
            assert [os.fsencode(line) for line in process.lines()] == [b"\xff"]

    def test_output_comes_in_pieces(self, runner: LocalRunner) -> None:
        with runner.start(shell("head -c 300000 /dev/zero")) as process:
            sizes = [len(piece) for piece in process.chunks(100_000)]
        assert sum(sizes) == 300_000
        assert max(sizes) <= 100_000

    def test_the_last_lines_of_standard_error_are_kept(self, runner: LocalRunner) -> None:
        with runner.start(shell("seq 1 5000 >&2; echo done")) as process:
            assert list(process.lines()) == ["done"], "it did not wait for a reader"
            process.wait()
            assert process.stderr_lines() == tuple(str(n) for n in range(4801, 5001))

    def test_leaving_ends_the_whole_group(self, runner: LocalRunner) -> None:
        before = descriptors()
        script = "sleep 300 & echo $!; sleep 300"
        with runner.start(shell(script)) as process:
            child = int(next(process.lines()))
            assert alive(child)
        assert not process.running()
        wait_for(lambda: not alive(child))
        assert descriptors() == before

    def test_leaving_ends_children_that_outlive_the_program(self, runner: LocalRunner) -> None:
        with runner.start(shell("sleep 300 >/dev/null 2>&1 & echo $!")) as process:
            child = int(next(process.lines()))
            process.wait()
            assert alive(child)
        wait_for(lambda: not alive(child))

    def test_a_program_that_ignores_the_signal_is_killed(
        self, runner: LocalRunner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("llmvault.core.process._GRACE_SECONDS", 0.2)
        with runner.start(shell("trap '' TERM; echo ready; while :; do sleep 1; done")) as process:
            next(process.lines())
        assert process.wait() == -signal.SIGKILL

    def test_a_program_that_waits_for_input_is_not_waited_for(self, runner: LocalRunner) -> None:
        """It hears the signal before its input ends, and is left no reason to go on waiting."""
        script = "trap 'echo stopped >&2; stopped=1' TERM; echo ready; while read x; do :; done"
        began = time.monotonic()
        with runner.start(shell(f"{script}; echo ${{stopped-ended}} >&2"), stdin=True) as process:
            next(process.lines())
        assert time.monotonic() - began < 5
        assert "ended" not in process.stderr_lines()

    def test_writing_to_a_program_that_has_ended(self, runner: LocalRunner) -> None:
        with runner.start(Command(("true",)), stdin=True) as process:
            process.wait()
            with pytest.raises(BrokenPipeError):
                process.write(b"x")
        with runner.start(Command(("cat",))) as process, pytest.raises(BrokenPipeError):
            process.write(b"it was started without input")

    def test_closing_the_input_ends_it(self, runner: LocalRunner) -> None:
        with runner.start(Command(("cat",)), stdin=True) as process:
            process.write(b"x")
            process.close_stdin()
            assert list(process.chunks()) == [b"x"]
            assert process.wait() == 0

    def test_waiting_may_time_out(self, runner: LocalRunner) -> None:
        with (
            runner.start(Command(("sleep", "300"))) as process,
            pytest.raises(TimeoutError, match=r"sleep still runs after 0\.05 s"),
        ):
            process.wait(timeout=0.05)

    def test_output_may_go_to_a_file(self, runner: LocalRunner, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_text("before\n")
        with runner.start(shell("echo out; echo err >&2"), log=log) as process:
            assert process.wait() == 0
            assert list(process.lines()) == []
        assert log.read_text().split() == ["before", "out", "err"]

    def test_many_programs_leak_no_descriptor(self, runner: LocalRunner) -> None:
        before = descriptors()
        for _ in range(20):
            with runner.start(shell("echo x; echo y >&2"), stdin=True) as process:
                process.wait()
            runner.run(Command(("true",)))
        assert descriptors() == before

    def test_stopping_twice_is_harmless(self, runner: LocalRunner) -> None:
        with runner.start(Command(("sleep", "300"))) as process:
            process.stop()
            process.stop()
            assert process.wait() == -signal.SIGTERM


PARENT = """
import os, sys, time
from llmvault.core.process import Command, LocalRunner
runner = LocalRunner(dict(os.environ))
process = runner.start(Command(("sleep", "300")))
print(process.pid, flush=True)
time.sleep(300)
"""


@needs_setpriv
def test_a_killed_parent_leaves_no_child() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    wait_for(lambda: not alive(child))


def test_a_command_shows_no_environment() -> None:
    command = Command(("restic",), {"RESTIC_PASSWORD": "sesame"})
    assert "sesame" not in repr(command)
