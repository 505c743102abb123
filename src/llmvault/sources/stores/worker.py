"""The process in which a store's engine runs, from the inside.

Reads one JSON object per line from standard input, ``{"do", "with"}``, and answers each with one on
standard output, ``{"answer"}`` or ``{"error": [kind, thing, cause, next step]}``. The first
question is ``open``; asked again, it closes what is open first. Ends when standard input does.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import IO, Any, Protocol

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.sources.interface import Observation

_FULL = {errno.ENOSPC, errno.EDQUOT}


class ServedStore(Protocol):
    """A store that is open in this process."""

    def observe(self) -> Observation:
        """Return every collection, with what is wrong with it."""

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first."""


Opener = Callable[[Mapping[str, Any]], AbstractContextManager[ServedStore]]


def serve(opener: Opener, more: Mapping[str, Callable[..., object]] | None = None) -> None:
    """Answer until standard input ends.

    Args:
        more: further questions by name; each is called with the open store and what was given.
    """
    # libraries print as they like: what was standard output becomes the line to the parent
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as parent:
        os.dup2(2, 1)
        with ExitStack() as stack:
            store: ServedStore | None = None
            for line in sys.stdin:
                question = json.loads(line)
                reply: Mapping[str, object] = {"answer": None}
                try:
                    if question["do"] == "open":
                        stack.close()
                        store = stack.enter_context(opener(question["with"]))
                    elif store is not None:
                        reply = {"answer": _answer(store, question["do"], question["with"], more)}
                except VaultError as error:
                    reply = _as_message(error)
                _tell(parent, reply)


def _answer(
    store: ServedStore,
    do: str,
    given: Mapping[str, Any],
    more: Mapping[str, Callable[..., object]] | None,
) -> object:
    match do:
        case "observe":
            return dataclasses.asdict(store.observe())
        case "search":
            return store.search(given["collection"], tuple(given["vector"]), given["k"])
        case _:
            return (more or {})[do](store, **given)


def _as_message(error: VaultError) -> Mapping[str, object]:
    return {"error": [type(error).__name__, error.thing, error.cause, error.next_step]}


def _tell(parent: IO[str], message: Mapping[str, object]) -> None:
    parent.write(json.dumps(message, allow_nan=False) + "\n")
    parent.flush()


def required(package: str, extra: str, error: ImportError) -> UnavailableError:
    """Return the error of a package that an extra of llmvault would bring."""
    return UnavailableError(
        package, f"it cannot be imported: {error}", f"pip install 'llmvault[{extra}]'"
    )


@contextmanager
def engine_errors(thing: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what an engine raises on a store into our errors.

    Args:
        kinds: the engine's own, beside OSError, RuntimeError, ValueError, KeyError, IndexError and
            TypeError: what binds native code to Python raises these for damaged files.
    """
    expected: tuple[type[Exception], ...] = (
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        *kinds,
    )
    try:
        yield
    except VaultError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise UnavailableError(thing, "no space left on device", "free some space") from error
        raise IntegrityError(thing, f"its engine says: {one_line(error)}") from error
    except expected as error:
        raise IntegrityError(thing, f"its engine says: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """Return the first line of what an error says, at most 300 characters."""
    told = str(error).strip() or type(error).__name__
    return told.splitlines()[0][:300]
