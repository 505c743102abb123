"""Entries before and after something that is done, whatever its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmvault.ledger.interface import Ledger


@contextmanager
def recorded(ledger: Ledger, noun: str, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Enter ``NOUN.started``, then ``NOUN.finished``, or ``NOUN.failed`` when an error escapes.

    Yields the facts of the second entry, to which its caller adds what came of it. Of an error only
    its kind is entered, since its words may quote anything.

    Raises:
        UnavailableError: when the ledger cannot be written.
    """
    ledger.append(f"{noun}.started", facts)
    end = dict(facts)
    try:
        yield end
    except BaseException as error:
        ledger.append(f"{noun}.failed", {**end, "error": type(error).__name__})
        raise
    ledger.append(f"{noun}.finished", end)
