"""Holding writers still while sources are captured, and always setting them free.

Before a writer is held still, a watchdog process is started that knows how to set it free. It does
so when it is told to, when the time is over, and when this process is gone, however it ended.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError, VaultError
from llmvault.core.process import Command, Process, Runner
from llmvault.core.units import format_seconds
from llmvault.core.verdict import Check, Verdict

THAW_SECONDS = 60.0  # for one attempt
_SAID = 200


@dataclass(frozen=True, slots=True)
class Hook:
    """How one group of writers is held still; times in seconds."""

    name: str
    freeze: tuple[str, ...]
    thaw: tuple[str, ...]
    freeze_timeout: float
    timeout: float


@dataclass(slots=True)
class Stillness:
    """What came of holding writers still; complete when its context has been left."""

    checks: list[Check] = field(default_factory=list)


@contextmanager
def held_still(runner: Runner, clock: Clock, hooks: Sequence[Hook]) -> Iterator[Stillness]:
    """Freeze in order, and thaw in reverse order when the context is left.

    A freeze that fails does not stop the capture: a recovery point that is unproven is better than
    none. It is undone at once.
    """
    stillness = Stillness()
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(_one_held(runner, clock, hook, stillness))
        yield stillness


@contextmanager
def _one_held(runner: Runner, clock: Clock, hook: Hook, stillness: Stillness) -> Iterator[None]:
    try:
        guard = _Guard(hook, _start(runner))
    except VaultError as error:
        detail = f"{hook.name}: nothing was frozen, for there is no watchdog: {error}"
        stillness.checks.append(Check("quiesce", "", Verdict.UNPROVEN, detail))
        yield
        return
    with guard.process:
        fault = guard.arm() or _freeze(runner, hook)
        began = clock.monotonic()
        if fault:
            thawed = guard.thaw()
            stillness.checks.append(_failed(hook, fault, thawed))
            yield
            return
        try:
            yield
        finally:
            seconds = clock.monotonic() - began
            stillness.checks.append(_outcome(hook, guard.thaw(), seconds))


def _start(runner: Runner) -> Process:
    # -P: files of the current directory are not imported in place of libraries
    command = Command((sys.executable, "-P", "-m", "llmvault.backup.watchdog"))
    return runner.start(command, stdin=True)


def _freeze(runner: Runner, hook: Hook) -> str:
    """Run the freeze; return what went wrong, or nothing."""
    try:
        done = runner.run(Command(hook.freeze), timeout=hook.freeze_timeout)
    except UnavailableError as error:
        return f"freeze: {error}"
    if done.exit_code == 0:
        return ""
    said = (done.stderr or done.stdout).strip()[-_SAID:]
    return f"freeze ended with exit code {done.exit_code}: {said or 'it said nothing'}"


class _Guard:
    """Our side of the watchdog."""

    def __init__(self, hook: Hook, process: Process) -> None:
        self.process = process
        self._hook = hook
        self._lines = process.lines()

    def arm(self) -> str:
        """Tell it how to thaw; return what went wrong, or nothing."""
        order = {
            "thaw": list(self._hook.thaw),
            "timeout": self._hook.timeout + self._hook.freeze_timeout,
            "thaw_seconds": THAW_SECONDS,
        }
        try:
            self.process.write(json.dumps(order).encode() + b"\n")
        except BrokenPipeError:
            return "the watchdog did not start"
        return "" if next(self._lines, "") == "armed" else "the watchdog did not start"

    def thaw(self) -> dict[str, str]:
        """Have it thaw, and return what it says: ``why`` and ``fault``."""
        with suppress(BrokenPipeError, ValueError):  # it has thawed by itself, and said so
            self.process.write(b"thaw\n")
        line = next(self._lines, "")
        if not line:
            return {"why": "", "fault": "the watchdog is gone; nobody knows whether it thawed"}
        told = json.loads(line)
        return {"why": str(told["why"]), "fault": str(told["fault"])}


def _failed(hook: Hook, fault: str, thawed: dict[str, str]) -> Check:
    detail = f"{hook.name}: {fault}"
    if thawed["fault"]:
        return _not_thawed(hook, f"{detail}; then thaw: {thawed['fault']}")
    return Check("quiesce", "", Verdict.UNPROVEN, f"{detail}; it was thawed")


def _not_thawed(hook: Hook, fault: str) -> Check:
    step = f"run it by hand: {' '.join(hook.thaw)}"
    return Check("quiesce", "", Verdict.FAILED, f"{fault}\n  next: {step}")


def _outcome(hook: Hook, thawed: dict[str, str], seconds: float) -> Check:
    if thawed["fault"]:
        return _not_thawed(hook, f"{hook.name}: thaw: {thawed['fault']}")
    held = format_seconds(seconds)
    if thawed["why"] != "told":
        limit = format_seconds(hook.timeout)
        detail = (
            f"{hook.name}: set free after {limit} while sources were still being captured; "
            f"that took {held}"
        )
        return Check("quiesce", "", Verdict.UNPROVEN, detail)
    return Check("quiesce", "", Verdict.PROVEN, f"{hook.name}: held still for {held}, then thawed")
