"""Recording goldens when a recovery point is made, on the live deployment.

Answers and embeddings depend only on the model: while its digest and the questions stay the same,
the sets of the last recovery point are taken over and no engine is started. Neighbours depend on a
store that may be written to during the backup, so they are searched before and after the captures,
and only queries that found the same both times are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from llmvault.backup.run import Recorded
from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.golden import GoldenSet, Kind, NeighboursRecord, to_json
from llmvault.drill.golden_store import read_sets
from llmvault.drill.goldens_run import Asked, StartedEngine, questions, record, replay
from llmvault.drill.wiring import WiredEngine, Wiring
from llmvault.policy.model import Golden, NeighboursGolden
from llmvault.recovery_points.find import local_manifest
from llmvault.recovery_points.memory import Memory
from llmvault.recovery_points.model import FileRecord, SourceRecord
from llmvault.sources.interface import Opens, OpenStore

Roots = Mapping[str, Path]
T = TypeVar("T")


@dataclass(slots=True)
class LiveRecorder:
    """Records the goldens of a plan around one backup of it.

    Attributes:
        roots: source name -> directory of the live files of sources that hold models.
        logs: an existing private directory for the engines' logs.
    """

    plan: str
    wiring: Wiring
    roots: Roots
    memory: Memory
    clock: Clock
    logs: Path
    _previous: dict[str, GoldenSet] = field(default_factory=dict)
    _found_before: dict[str, GoldenSet] = field(default_factory=dict)
    _trouble: dict[str, str] = field(default_factory=dict)

    def before(self) -> None:
        """Search the stores with the queries of the last recovery point, or embed them anew."""
        self._previous = self._last_sets()
        searched = _neighbours(self.wiring.goldens)
        with ExitStack() as stack:
            sessions = _Sessions(stack, self)
            for name, golden in searched.items():
                self._attempt(name, partial(self._search, name, golden, sessions))

    def after(
        self, sources: Sequence[SourceRecord], files: Mapping[str, tuple[FileRecord, ...]]
    ) -> Recorded:
        """Search again, ask what must be asked, and return the sets with one check on them."""
        by_source = {name: {r.path: r for r in listed} for name, listed in files.items()}
        sets: dict[str, GoldenSet] = {}
        with ExitStack() as stack:
            sessions = _Sessions(stack, self, by_source)
            for name, golden in self.wiring.goldens.items():
                if name in self._trouble:
                    continue
                made = self._attempt(name, partial(self._make, name, golden, sessions))
                if made is not None:
                    sets[name] = made
        taken_over = sum(1 for name, made in sets.items() if made is self._previous.get(name))
        check = self._check(len(sets), taken_over)
        return Recorded(tuple(to_json(made) for made in sets.values()), (check,))

    def _last_sets(self) -> dict[str, GoldenSet]:
        last = self.memory.last_run(self.plan).recovery_point
        manifest = local_manifest(self.memory, last) if last else None
        try:
            return {made.name: made for made in read_sets(manifest.goldens if manifest else ())}
        except IntegrityError:
            return {}

    def _attempt(self, name: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except VaultError as error:
            self._trouble[name] = f"{error.thing}: {error.cause}"
            return None

    def _search(self, name: str, golden: NeighboursGolden, sessions: _Sessions) -> None:
        earlier = self._previous.get(name)
        with self._store(golden.source) as store:
            if earlier and _asks_the_same(name, golden, earlier):
                asked = Asked({}, {golden.source: store})
                found = replay(earlier, golden, asked, now=self.clock.now())
            else:
                asked = Asked(sessions.of(golden.engine), {golden.source: store})
                (found,) = record({name: golden}, asked, now=self.clock.now())
        self._found_before[name] = found

    def _make(self, name: str, golden: Golden, sessions: _Sessions) -> GoldenSet:
        digest = sessions.digest(golden.engine)
        if isinstance(golden, NeighboursGolden):
            return self._search_again(name, golden, digest, sessions)
        earlier = self._previous.get(name)
        same_model = earlier and digest and earlier.model_sha256 == digest
        if earlier and same_model and _asks_the_same(name, golden, earlier):
            return earlier
        (made,) = record(
            {name: golden}, Asked(sessions.of(golden.engine), {}), now=self.clock.now()
        )
        return made

    def _search_again(
        self, name: str, golden: NeighboursGolden, digest: str, sessions: _Sessions
    ) -> GoldenSet:
        before = self._found_before[name]
        now = self.clock.now()
        with self._store(golden.source) as store:
            if before.model_sha256 in ("", digest):
                asked = Asked({}, {golden.source: store})
                after = replay(before, golden, asked, now=now)
            else:
                asked = Asked(sessions.of(golden.engine), {golden.source: store})
                (after,) = record({name: golden}, asked, now=now)
                before = replay(after, golden, asked, now=now)
        stable = _stable(before, after)
        if not stable:
            raise UnavailableError(
                f'golden "{name}"', "the store changed so much meanwhile that no query is stable"
            )
        return replace(after, model_sha256=digest, records=stable)

    @contextmanager
    def _store(self, name: str) -> Iterator[OpenStore]:
        source = self.wiring.sources.get(name)
        if not isinstance(source, Opens):
            raise UnavailableError(f'source "{name}"', "it cannot be searched")
        with source.open_live() as store:
            yield store

    def _check(self, recorded: int, taken_over: int) -> Check:
        if self._trouble:
            detail = "; ".join(f"{name}: {cause}" for name, cause in self._trouble.items())
            return Check("goldens", "", Verdict.UNPROVEN, f"not recorded: {detail}")
        detail = f"{recorded} golden sets, {taken_over} of them taken over as the model is the same"
        return Check("goldens", "", Verdict.PROVEN, detail)


@dataclass(slots=True)
class _Sessions:
    """Engines, started on the live models when they are first needed."""

    stack: ExitStack
    recorder: LiveRecorder
    files: Mapping[str, Mapping[str, FileRecord]] = field(default_factory=dict)
    started: dict[str, StartedEngine] = field(default_factory=dict)

    def of(self, name: str) -> Mapping[str, StartedEngine]:
        if name not in self.started:
            wired, root = self._wired(name)
            if reason := wired.engine.available():
                raise UnavailableError(f'engine "{name}"', reason)
            log = self.recorder.logs / f"engine-{name}.log"
            session = self.stack.enter_context(wired.start(root, log))
            self.started[name] = StartedEngine(session, wired.source.name, self.digest(name))
        return self.started

    def digest(self, name: str) -> str:
        wired, root = self._wired(name)
        return wired.model_sha256(root, self.files.get(wired.source.name, {}))

    def _wired(self, name: str) -> tuple[WiredEngine, Path]:
        wired = self.recorder.wiring.engines.get(name)
        root = self.recorder.roots.get(wired.source.name) if wired else None
        if wired is None or root is None:
            raise UnavailableError(
                f'engine "{name}"', "it is not among the drill's engines, or its model is elsewhere"
            )
        return wired, root


def _neighbours(goldens: Mapping[str, Golden]) -> dict[str, NeighboursGolden]:
    return {name: g for name, g in goldens.items() if isinstance(g, NeighboursGolden)}


def _asks_the_same(name: str, golden: Golden, earlier: GoldenSet) -> bool:
    if earlier.kind != Kind(golden.kind):
        return False
    limits = {"max_tokens", "collection", "k"} & earlier.parameters.keys()
    same = all(earlier.parameters[key] == getattr(golden, key) for key in limits)
    return same and tuple(r.question for r in earlier.records) == questions(name, golden)


def _stable(before: GoldenSet, after: GoldenSet) -> tuple[NeighboursRecord, ...]:
    found = {r.question: r.ids for r in before.records if isinstance(r, NeighboursRecord)}
    return tuple(
        record
        for record in after.records
        if isinstance(record, NeighboursRecord) and found.get(record.question) == record.ids
    )
