"""Our side of the process in which a store's engine runs.

Engines are native code: a damaged store can crash one, and some never give memory back. What runs
on the other side is :mod:`llmvault.sources.stores.worker`.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    UnprovenError,
    VaultError,
)
from llmvault.core.process import Command, Process, Runner
from llmvault.sources.interface import CollectionFacts, Finding, Observation

_ERRORS: dict[str, type[VaultError]] = {
    kind.__name__: kind
    for kind in (
        VaultError,
        IntegrityError,
        PolicyError,
        RefusedError,
        UnavailableError,
        UnprovenError,
    )
}
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
_EXIT_SECONDS = 10.0


class StoreProcess:
    """A store that is open in a process of its own (an ``OpenStore``).

    Args:
        thing: what the store is called in errors, e.g. ``LanceDB database /srv/lance``.
    """

    def __init__(self, process: Process, thing: str) -> None:
        self._process = process
        self._lines = process.lines()
        self._thing = thing

    def observe(self) -> Observation:
        """Return every collection with counts, settings and samples, and what is wrong with it."""
        return read_observation(self.ask("observe"))

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count, settings and samples."""
        return self.observe().collections

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first, equal distances by id."""
        return tuple(self.ask("search", collection=collection, vector=vector, k=k))

    def ask(self, do: str, **given: object) -> Any:  # noqa: ANN401  as the question demands
        """Have the other side do something and return its answer.

        Raises:
            IntegrityError: when the engine finds the store broken, or crashes.
            UnavailableError: when the process ends otherwise.
        """
        try:
            self._process.write(json.dumps({"do": do, "with": given}).encode() + b"\n")
            line = next(self._lines, "")
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._ended()
        reply = json.loads(line)
        if "error" in reply:
            kind, *words = reply["error"]
            raise _ERRORS.get(kind, VaultError)(*words)
        return reply["answer"]

    def _ended(self) -> VaultError:
        code = self._exit_code()
        if -code in _CRASHES:
            name = signal.Signals(-code).name
            return IntegrityError(self._thing, f"its engine crashes on it ({name}): it is damaged")
        said = [line for line in self._process.stderr_lines() if line.strip()]
        return UnavailableError(
            self._thing,
            f"the process that opened it ended with exit code {code}: {said[-1] if said else ''}",
            "look at memory and disk space, then try again",
        )

    def _exit_code(self) -> int:
        with suppress(TimeoutError):
            return self._process.wait(_EXIT_SECONDS)
        self._process.stop()
        return self._process.wait()


@contextmanager
def store_process(
    runner: Runner, module: str, thing: str, opening: Mapping[str, object]
) -> Iterator[StoreProcess]:
    """Start a driver's worker, have it open its store, and close both when the context is left.

    Args:
        module: what ``python -m`` runs.
        opening: what the worker is told of the store; must hold JSON values only.

    Raises:
        VaultError: when the store cannot be opened.
    """
    # -P: files of the current directory are not imported in place of libraries
    command = Command((sys.executable, "-P", "-m", module))
    with runner.start(command, stdin=True) as process:
        store = StoreProcess(process, thing)
        store.ask("open", **opening)
        yield store
        with suppress(BrokenPipeError):
            process.close_stdin()
        with suppress(TimeoutError):  # then it is stopped
            process.wait(_EXIT_SECONDS)


def read_observation(plain: Mapping[str, Any]) -> Observation:
    """Return an observation from its JSON form."""
    return Observation(
        findings=tuple(Finding(**each) for each in plain["findings"]),
        collections=tuple(_facts(dict(each)) for each in plain["collections"]),
        versions=plain["versions"],
        details=plain["details"],
    )


def _facts(plain: dict[str, Any]) -> CollectionFacts:
    vectors = {key: tuple(values) for key, values in plain.pop("sample_vectors").items()}
    return CollectionFacts(**plain, sample_vectors=vectors)
