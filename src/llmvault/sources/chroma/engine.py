"""Persist directories, opened in a process of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmvault.core.process import Runner
from llmvault.sources.chroma.records import Database
from llmvault.sources.stores.process import StoreProcess, store_process

_WORKER = "llmvault.sources.chroma.worker"


@contextmanager
def engine_on(
    directory: Path, databases: Sequence[Database], *, sample: int, runner: Runner
) -> Iterator[StoreProcess]:
    """Open (or create) a persist directory with its databases; it is written to by opening it."""
    names = [[database.tenant, database.name] for database in databases]
    opening = {"directory": str(directory), "databases": names, "sample": sample}
    with store_process(runner, _WORKER, f"Chroma store {directory}", opening) as engine:
        yield engine
