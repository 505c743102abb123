"""Metrics of this host, where the policy wants them: answered, written, pushed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from llmvault.core.errors import VaultError
from llmvault.notify.metrics import Metrics
from llmvault.policy.metrics import MetricsPolicy
from llmvault.schedule.judge import finding_of
from llmvault.schedule.measure import View, samples_of
from llmvault.schedule.model import Finding


class MetricsPublisher:
    """Publishes from a thread of its own, so that a Pushgateway that hangs keeps nobody waiting.

    Args:
        listen: address that answers scrapes, from now until :meth:`close`.

    Raises:
        UnavailableError: when the address is taken.
    """

    def __init__(self, listen: str | None) -> None:
        self.metrics = Metrics()
        self._end: Callable[[], None] | None = None
        if listen is not None:
            address, _, port = listen.rpartition(":")
            self._end = self.metrics.serve(address.strip("[]"), int(port))
        self._pool = ThreadPoolExecutor(1)
        self._going_on: Future[VaultError | None] | None = None
        self._trouble: VaultError | None = None

    def publish(self, view: View) -> Sequence[Finding]:
        """Publish how a host stands; return what went wrong with publishing before."""
        told = [finding_of("metrics-failed", view.host, self._trouble)] if self._trouble else []
        whole = View(
            view.host, view.version, view.now, view.loaded, view.jobs, view.seen,
            [*view.findings, *told], view.known,
        )  # fmt: skip
        self.metrics.put(samples_of(whole))
        if self._going_on is not None and self._going_on.done():
            self._trouble = self._going_on.result()
            self._going_on = None
        wanted = view.loaded.policy.metrics
        if self._going_on is None and (wanted.textfile or wanted.pushgateway):
            self._going_on = self._pool.submit(self._hand_over, wanted, view.host)
        return told

    def close(self) -> None:
        """End, after the last values were handed over."""
        self._pool.shutdown(wait=True)
        if self._end is not None:
            self._end()

    def _hand_over(self, wanted: MetricsPolicy, host: str) -> VaultError | None:
        try:
            if wanted.textfile is not None:
                self.metrics.write(wanted.textfile)
            if wanted.pushgateway is not None:
                self.metrics.push(wanted.pushgateway, host)
        except VaultError as error:
            return error
        return None
