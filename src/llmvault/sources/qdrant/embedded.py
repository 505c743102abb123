"""Qdrant's storage engine in a process of ours, from the outside (an ``Engine``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from llmvault.core.process import Runner
from llmvault.sources.interface import Finding, Point
from llmvault.sources.qdrant.words import Settings
from llmvault.sources.stores.process import StoreProcess, store_process
from llmvault.sources.stores.wire import point_from_wire, point_to_wire

_WORKER = "llmvault.sources.qdrant.worker"


class EmbeddedEngine:
    """Shards that are open in a process of their own.

    Args:
        named: alias -> collection, which shards know nothing of.
        stated: settings that are known otherwise, by collection.
    """

    def __init__(
        self,
        process: StoreProcess,
        named: Mapping[str, str],
        stated: Mapping[str, Settings],
    ) -> None:
        self._process = process
        self._aliases = dict(named)
        self._stated = dict(stated)

    def collections(self) -> Mapping[str, Settings]:
        """Return name -> settings of every collection."""
        found = cast("Mapping[str, Settings]", self._process.ask("collections"))
        return {name: self._stated.get(name, settings) for name, settings in found.items()}

    def aliases(self) -> Mapping[str, str]:
        """Return alias -> collection."""
        return self._aliases

    def count(self, name: str) -> int:
        """Return how many points there are, counted exactly."""
        return int(self._process.ask("count", name=name))

    def page(self, name: str, start: str | None, limit: int) -> tuple[list[Point], str | None]:
        """Return points in the order of their ids, and where to go on."""
        answer = self._process.ask("page", name=name, start=start, limit=limit)
        return [point_from_wire(one) for one in answer["points"]], answer["next"]

    def some(self, name: str, ids: Sequence[str]) -> list[Point]:
        """Return the points with these ids."""
        answer = self._process.ask("some", name=name, ids=list(ids))
        return [point_from_wire(one) for one in answer]

    def nearest(self, name: str, using: str, vector: Sequence[float], k: int) -> list[str]:
        """Return the ids of the k nearest points, nearest first."""
        asked = {"name": name, "using": using, "vector": list(vector), "k": k}
        return list(map(str, self._process.ask("nearest", **asked)))

    def create(self, name: str, settings: Settings, aliases: Sequence[str]) -> None:
        """Make a collection."""
        self._process.ask("create", name=name, settings=dict(settings))
        self._stated[name] = settings
        self._aliases |= {alias: name for alias in aliases}

    def put(self, name: str, points: Sequence[Point]) -> None:
        """Write points."""
        self._process.ask("put", name=name, points=[point_to_wire(one) for one in points])

    def settle(self, name: str) -> None:
        """Have the shard indexed and flushed."""
        self._process.ask("settle", name=name)

    def drop(self, name: str) -> None:
        """Remove a collection's shard."""
        self._process.ask("drop", name=name)

    def findings(self) -> tuple[Finding, ...]:
        """Read every vector; return what is wrong with them."""
        return self._process.observe().findings


@contextmanager
def embedded_engine(
    runner: Runner,
    thing: str,
    shards: Mapping[str, Sequence[Path]],
    *,
    root: Path | None = None,
    named: Mapping[str, str] | None = None,
    stated: Mapping[str, Settings] | None = None,
) -> Iterator[EmbeddedEngine]:
    """Open shards, several of which may be one collection; opening them writes to them.

    Args:
        root: directory below which new collections are made; None where none will be.
        named: alias -> collection.
        stated: settings that are known otherwise, by collection.

    Raises:
        VaultError: when they cannot be opened.
    """
    opening = {
        "shards": {name: [str(path) for path in paths] for name, paths in shards.items()},
        "root": str(root) if root is not None else None,
    }
    with store_process(runner, _WORKER, thing, opening) as process:
        yield EmbeddedEngine(process, named or {}, stated or {})
