"""A ledger with a key of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.core.clock import SystemClock
from llmvault.keys.store import KeyFiles
from llmvault.ledger.writer import TileLedger

ORIGIN = "host/llmvault/test"


def open_at(directory: Path) -> TileLedger:
    """Open (or begin) the ledger in a directory, as another process would."""
    keys = KeyFiles(directory / "keys")
    keys.make(ORIGIN)
    ledger = TileLedger(
        directory / "ledger", keys.signing_key, keys.verifiers, SystemClock(), "host"
    )
    ledger.begin(ORIGIN)
    return ledger


@pytest.fixture
def ledger(tmp_path: Path) -> TileLedger:
    """An empty ledger."""
    return open_at(tmp_path)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    """Its keys."""
    return KeyFiles(tmp_path / "keys")
