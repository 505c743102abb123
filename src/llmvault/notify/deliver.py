"""Delivering: each order in a short-lived process of its own.

Apprise takes 45 MiB once it has sent something, and a server that answers a byte a minute keeps
any socket time-out from ending; a process gives the memory back and can be stopped.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from threading import Event

from llmvault.core.clock import Clock
from llmvault.core.errors import VaultError
from llmvault.core.process import Command, Process, Runner
from llmvault.notify.model import Delivered, Order, hidden

_STEP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Messenger:
    """Carries orders out; safe to use from several threads."""

    runner: Runner
    clock: Clock

    def deliver(self, order: Order, stop: Event) -> Delivered:
        """Carry an order out and return what came of it; never raises, never takes long.

        Args:
            stop: it is given up when this is set.
        """
        command = Command((sys.executable, "-m", "llmvault.notify.worker"))
        asked = json.dumps(
            {
                "kind": order.kind,
                "place": dict(order.place),
                "message": asdict(order.message),
                "patience": asdict(order.patience),
            }
        )
        try:
            with self.runner.start(command, stdin=True) as process:
                process.write(asked.encode())
                process.close_stdin()
                done = self._wait(process, order.patience.timeout_s, stop)
        except (VaultError, OSError) as error:
            told = error.cause if isinstance(error, VaultError) else error.strerror
            done = Delivered(0, f"could not be tried: {told}")
        return Delivered(done.tries, hidden(done.cause, order.secrets))

    def _wait(self, process: Process, limit: float, stop: Event) -> Delivered:
        began = self.clock.monotonic()
        while True:
            try:
                code = process.wait(_STEP_SECONDS)
                break
            except TimeoutError:
                if stop.is_set():
                    return Delivered(1, "was given up, llmvault ends")
                if self.clock.monotonic() - began > limit:
                    return Delivered(1, f"did not take it within {limit:.3g} s")
        answer = b"".join(process.chunks())
        try:
            told = json.loads(answer)
            return Delivered(int(told["tries"]), str(told["cause"]))
        except (ValueError, KeyError, TypeError):
            return Delivered(1, f"its process ended with exit code {code} and no answer")
