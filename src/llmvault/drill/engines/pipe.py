"""Talking to a worker process: one line of JSON per message, over its standard streams."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from llmvault.core.process import Command, Runner
from llmvault.drill.engines.server import Child, start_child

T = TypeVar("T")
Answer = dict[str, Any]

_JOIN_SECONDS = 5.0


class Pipe:
    """The line to a worker."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._shut = ""
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.child.process.lines():
            self._lines.put(line)
        self._lines.put(None)

    def receive(self, read: Callable[[Answer], T], *, doing: str, limit: float) -> T:
        """Return what `read` makes of the next message.

        Raises:
            UnavailableError: when the worker crashed, hung for `limit` seconds, reported an error,
                or sent something that is no JSON object or that `read` does not understand.
        """
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self._shut = "still owes the answer to an earlier question"
            raise self.child.late(doing, limit) from None
        if line is None:
            self._lines.put(None)
            raise self.child.broken(doing, "closed its output")
        try:
            answer = dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise self.child.failure(f"answered no JSON object while {doing}") from error
        if "error" in answer:
            raise self.child.failure(f"refused while {doing}: {answer['error']}")
        try:
            return read(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise self.child.failure(f"answered garbage while {doing}: {error!r}") from error

    def ask(
        self, question: Mapping[str, object], read: Callable[[Answer], T], *, limit: float
    ) -> T:
        """Send a question and return what `read` makes of the answer; errors as for receive."""
        if self._shut:
            raise self.child.failure(self._shut)
        try:
            self.child.process.write(json.dumps(question).encode() + b"\n")
        except OSError as error:
            raise self.child.broken("asking", "closed its input") from error
        return self.receive(read, doing="answering", limit=limit)

    def close(self) -> None:
        """Stop the worker and wait until its last line is read."""
        self._shut = "was stopped"
        self.child.process.stop()
        self._reader.join(_JOIN_SECONDS)


@contextmanager
def start_worker(thing: str, command: Command, log: Path, *, runner: Runner) -> Iterator[Pipe]:
    """Start a worker and stop it when the context ends.

    Raises:
        UnavailableError: when it cannot be started.
    """
    with start_child(thing, command, log, runner=runner, piped=True) as child:
        pipe = Pipe(child)
        try:
            yield pipe
        finally:
            pipe.close()
