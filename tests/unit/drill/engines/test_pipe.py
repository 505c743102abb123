"""What becomes of workers that misbehave."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, LocalRunner
from llmvault.drill.engines.pipe import Pipe, start_worker
from tests.contract.engine import processes_naming
from tests.fakes import bad_worker


@contextmanager
def worker(mode: str, folder: Path) -> Iterator[Pipe]:
    log = folder / "log"
    command = Command((sys.executable, bad_worker.__file__, mode, str(log)))
    with start_worker('engine "x"', command, log, runner=LocalRunner(os.environ)) as pipe:
        yield pipe
    assert processes_naming(str(log)) == []


def ready(pipe: Pipe, limit: float = 20) -> bool:
    return pipe.receive(lambda answer: bool(answer["ready"]), doing="loading", limit=limit)


def say(pipe: Pipe, word: str, limit: float = 20) -> str:
    return pipe.ask({"say": word}, lambda answer: str(answer["echo"]), limit=limit)


def test_questions_are_answered_and_prints_are_logged(tmp_path: Path) -> None:
    with worker("good", tmp_path) as pipe:
        assert ready(pipe)
        assert len(processes_naming(str(tmp_path / "log"))) == 1
        assert [say(pipe, word) for word in ("one", "two")] == ["one", "two"]
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [
        "a library prints to standard output in mode good",
        "and another one to standard error",
    ]
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_an_end_before_the_log_is_open_is_told_from_standard_error(tmp_path: Path) -> None:
    with (
        worker("exits", tmp_path) as pipe,
        pytest.raises(
            UnavailableError,
            match=r"crashed while loading \(exit code 1\); .* no module named torch",
        ),
    ):
        ready(pipe)


def test_never_ready(tmp_path: Path) -> None:
    with (
        worker("silent", tmp_path) as pipe,
        pytest.raises(UnavailableError, match=r"hung while loading: nothing within 0.5 s"),
    ):
        ready(pipe, limit=0.5)


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("crashes", r"crashed while answering \(killed by SIGABRT\); .*standard error"),
        ("babbles", "answered no JSON object while answering"),
        ("raises", "refused while answering: RuntimeError: CUDA out of memory"),
        ("closes", "closed its input while asking"),
    ],
)
def test_no_answer(mode: str, told: str, tmp_path: Path) -> None:
    with worker(mode, tmp_path) as pipe:
        ready(pipe)
        if mode == "closes":
            time.sleep(0.2)
        with pytest.raises(UnavailableError, match=f"(?s){told}"):
            say(pipe, "hello")


def test_an_answer_in_another_form_is_garbage(tmp_path: Path) -> None:
    with worker("good", tmp_path) as pipe:
        ready(pipe)
        with pytest.raises(UnavailableError, match="answered garbage while answering: KeyError"):
            pipe.ask({"say": "hello"}, lambda answer: answer["tokens"], limit=20)


def test_a_late_answer_is_never_taken_for_another_question(tmp_path: Path) -> None:
    with worker("late", tmp_path) as pipe:
        ready(pipe)
        with pytest.raises(UnavailableError, match="hung while answering"):
            say(pipe, "first", limit=0.1)
        time.sleep(0.6)
        with pytest.raises(UnavailableError, match="owes the answer"):
            say(pipe, "second")


def test_every_question_after_a_crash_fails(tmp_path: Path) -> None:
    with worker("crashes", tmp_path) as pipe:
        ready(pipe)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="crashed while"):
                say(pipe, "hello")
