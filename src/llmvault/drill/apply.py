"""Carrying a drill out below a scratch directory: fetch, verify, load, ask, replay."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, VaultError
from llmvault.core.progress import Progress
from llmvault.core.units import format_seconds
from llmvault.core.verdict import Check, Verdict
from llmvault.drill.engines.interface import EngineIdentity, Session
from llmvault.drill.golden import GoldenSet
from llmvault.drill.goldens_run import Asked, StartedEngine, check, questions, record
from llmvault.drill.model import DrilledSource, Phases
from llmvault.drill.plan import broken_sources
from llmvault.drill.wiring import WiredEngine, Wiring
from llmvault.policy.model import CompletionGolden, EmbeddingGolden
from llmvault.recovery_points.model import Manifest
from llmvault.restic.repo import Repository
from llmvault.restore.compare import compare_collections
from llmvault.restore.fetch import FetchPorts, fetch
from llmvault.restore.model import Fetched, FetchPlan
from llmvault.sources.interface import Opens, OpenStore

T = TypeVar("T")

_FIRST_QUESTION = "A backup that was never restored"
_WORDS_SHOWN = 60
FULL = "the scratch disk is full: no space left on device; free space or set LLMVAULT_SCRATCH"


@dataclass(frozen=True, slots=True)
class ApplyPorts:
    """What carrying a drill out works with."""

    clock: Clock
    progress: Progress
    repositories: Mapping[str, Repository]
    wiring: Wiring


@dataclass(slots=True)
class Proceedings:
    """What a drill has established so far; it is complete in itself at any time."""

    checks: list[Check] = field(default_factory=list)
    phases: Phases = field(default_factory=Phases)
    engines: dict[str, EngineIdentity] = field(default_factory=dict)
    sources: list[DrilledSource] = field(default_factory=list)
    recorded: tuple[GoldenSet, ...] = ()
    replay_seconds: float | None = None


@dataclass(slots=True)
class DrillRun:
    """One drill on one scratch directory.

    Attributes:
        started: monotonic seconds at which the clock of the RTO began to run.
        goldens: sets recorded with the recovery point, or by an earlier drill.
    """

    ports: ApplyPorts
    manifest: Manifest
    fetches: tuple[FetchPlan, ...]
    scratch: Path
    started: float
    goldens: tuple[GoldenSet, ...]
    done: Proceedings

    def carry_out(self, *, record_missing: bool) -> None:
        """Restore, verify, load, ask and replay; what goes wrong becomes a check."""
        roots = self._fetch_and_verify()
        with ExitStack() as stack:
            asked = self._load(stack, roots)
            self._ask_first(asked)
            began = self.ports.clock.monotonic()
            self._replay(asked, record_missing=record_missing)
            self.done.replay_seconds = self.ports.clock.monotonic() - began

    def _fetch_and_verify(self) -> dict[str, Path]:
        fetched = []
        for plan in self.fetches:
            one = self._guarded("restore", plan.source, partial(self._fetch, plan))
            if one is not None:
                fetched.append(one)
        began = self.ports.clock.monotonic()
        for one in fetched:
            self._own_checks(one)
        own = self.ports.clock.monotonic() - began
        self.done.phases = replace(
            self.done.phases,
            fetch=sum(one.fetch_seconds for one in fetched),
            verify=own + sum(one.verify_seconds for one in fetched),
        )
        return {one.source: one.path for one in fetched}

    def _fetch(self, plan: FetchPlan) -> Fetched:
        ports = FetchPorts(self.ports.clock, self.ports.progress)
        fetched = fetch(ports, self.ports.repositories[plan.repository], self.manifest, plan)
        self.done.checks.extend(fetched.checks)
        kind = self.manifest.source(plan.source).kind
        self.done.sources.append(
            DrilledSource(
                plan.source, kind, fetched.files, fetched.bytes, plan.repository, plan.snapshot
            )
        )
        return fetched

    def _own_checks(self, fetched: Fetched) -> None:
        source = self.ports.wiring.sources.get(fetched.source)
        if source is None:
            detail = "the policy no longer has this source; only its bytes could be verified"
            self.done.checks.append(Check("structure", fetched.source, Verdict.UNPROVEN, detail))
            return
        recorded = self.manifest.source(fetched.source).observation
        found = self._guarded(
            "structure", fetched.source, lambda: source.check(fetched.path, recorded)
        )
        self.done.checks.extend(found or ())

    def _load(self, stack: ExitStack, roots: Mapping[str, Path]) -> Asked:
        began = self.ports.clock.monotonic()
        broken = broken_sources(self.done.checks)
        stores = {}
        for name, root in roots.items():
            store = self._open_store(stack, name, root, broken)
            if store is not None:
                stores[name] = store
        engines = {}
        for name, wired in self.ports.wiring.engines.items():
            started = self._start_engine(stack, name, wired, roots, broken)
            if started is not None:
                engines[name] = started
        elapsed = self.ports.clock.monotonic() - began
        self.done.phases = replace(self.done.phases, load=elapsed)
        return Asked(engines, stores)

    def _open_store(
        self, stack: ExitStack, name: str, root: Path, broken: Mapping[str, str]
    ) -> OpenStore | None:
        source = self.ports.wiring.sources.get(name)
        if not isinstance(source, Opens):
            return None
        if name in broken:
            detail = f"not opened, its bytes are not as recorded: {broken[name]}"
            self.done.checks.append(Check("records", name, Verdict.UNPROVEN, detail))
            return None
        return self._guarded("records", name, lambda: self._opened(stack, source, name, root))

    def _opened(self, stack: ExitStack, source: Opens, name: str, root: Path) -> OpenStore:
        place = self.scratch / "stores" / name
        place.mkdir(parents=True, mode=0o700)
        store = stack.enter_context(source.open_restored(root, place))
        recorded = self.manifest.source(name).observation.collections
        self.done.checks.append(compare_collections(name, recorded, store.describe()))
        return store

    def _start_engine(
        self,
        stack: ExitStack,
        name: str,
        wired: WiredEngine,
        roots: Mapping[str, Path],
        broken: Mapping[str, str],
    ) -> StartedEngine | None:
        holder = wired.source.name
        obstacle = wired.engine.available()
        if holder not in roots:
            obstacle = f'source "{holder}" with its model was not restored'
        elif holder in broken:
            obstacle = f"not started, the model's bytes are not as recorded: {broken[holder]}"
        if obstacle:
            self.done.checks.append(Check(f"engine:{name}", holder, Verdict.UNPROVEN, obstacle))
            return None
        root = roots[holder]
        log = self.scratch / f"engine-{name}.log"
        files = {record.path: record for record in self.manifest.files.get(holder, ())}
        try:
            digest = wired.model_sha256(root, files)
            session = stack.enter_context(wired.start(root, log))
        except VaultError as error:
            self._failed(f"engine:{name}", holder, error)
            return None
        self.done.engines[name] = session.identity
        return StartedEngine(session, holder, digest)

    def _ask_first(self, asked: Asked) -> None:
        began = self.ports.clock.monotonic()
        for name, started in asked.engines.items():
            self._first_answer(name, started.session, self.ports.wiring.engines[name])
        now = self.ports.clock.monotonic()
        answered = any(
            check.name.startswith("engine:") and check.verdict is Verdict.PROVEN
            for check in self.done.checks
        )
        if not self.ports.wiring.engines:
            detail = "the plan names no engine, so nothing was asked"
            self.done.checks.append(Check("engine", "", Verdict.UNPROVEN, detail))
        if answered:
            self.done.phases = replace(
                self.done.phases, first_answer=now - began, total=now - self.started
            )

    def _first_answer(self, name: str, session: Session, wired: WiredEngine) -> None:
        question = self._first_question(name)
        began = self.ports.clock.monotonic()
        try:
            said = _ask(session, question, embedding=wired.embedding)
        except VaultError as error:
            self._failed(f"engine:{name}", wired.source.name, error)
            return
        took = format_seconds(self.ports.clock.monotonic() - began)
        detail = f"{wired.engine.kind} on {session.identity.device}, first answer in {took}: {said}"
        self.done.checks.append(Check(f"engine:{name}", wired.source.name, Verdict.PROVEN, detail))

    def _first_question(self, engine: str) -> str:
        for name, golden in self.ports.wiring.goldens.items():
            if golden.engine == engine and isinstance(golden, CompletionGolden | EmbeddingGolden):
                return questions(name, golden)[0]
        return _FIRST_QUESTION

    def _replay(self, asked: Asked, *, record_missing: bool) -> None:
        now = self.ports.clock.now()
        goldens = self.ports.wiring.goldens
        known = {golden.name for golden in self.goldens}
        missing = {name: golden for name, golden in goldens.items() if name not in known}
        if record_missing:
            recorded = self._guarded("goldens", "", lambda: record(missing, asked, now=now))
            self.done.recorded = recorded or ()
            for golden in self.done.recorded:
                detail = "recorded now; the next drill of this recovery point compares with it"
                made = Check(f"golden:{golden.name}", golden.source, Verdict.UNPROVEN, detail)
                self.done.checks.append(made)
            goldens = {name: golden for name, golden in goldens.items() if name in known}
        self.done.checks.extend(check(goldens, self.goldens, asked, now=now))

    def _failed(self, name: str, source: str, error: VaultError) -> None:
        """A restored model that does not load or answer is a failure, whatever the cause."""
        self.done.checks.append(Check(name, source, Verdict.FAILED, error.diagnostics()))

    def _guarded(self, name: str, source: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except VaultError as error:
            verdict = Verdict.FAILED if isinstance(error, IntegrityError) else Verdict.UNPROVEN
            self.done.checks.append(Check(name, source, verdict, error.diagnostics()))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            cause = FULL if full else str(error)
            self.done.checks.append(Check(name, source, Verdict.UNPROVEN, cause))
        return None


def _ask(session: Session, question: str, *, embedding: bool) -> str:
    if embedding:
        (vector,) = session.embed((question,))
        return f"a vector of {len(vector)} dimensions"
    words = " ".join(session.complete(question, 8).text.split())
    return repr(words[:_WORDS_SHOWN])
