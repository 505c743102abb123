"""Prometheus metrics, served, written to a file, or pushed: the only user of prometheus_client.

Exposition format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmvault.core.errors import UnavailableError
from llmvault.core.files import write_durably

_PUSH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a gauge.

    Attributes:
        name: with its unit, as Prometheus has it.
        labels: every sample of a name has the same ones.
    """

    name: str
    explained: str
    labels: Mapping[str, str]
    value: float


class Metrics(Collector):
    """The newest values; safe to put and read from several threads."""

    def __init__(self) -> None:
        self._samples: tuple[Sample, ...] = ()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def put(self, samples: Iterable[Sample]) -> None:
        """Replace all values."""
        self._samples = tuple(samples)

    def collect(self) -> Iterator[Metric]:
        """Yield the values, grouped by name."""
        groups: dict[str, list[Sample]] = {}
        for sample in self._samples:
            groups.setdefault(sample.name, []).append(sample)
        for name, samples in groups.items():
            yield _family(name, samples)

    def text(self) -> bytes:
        """Return the values in the exposition format."""
        return generate_latest(self.registry)

    def serve(self, address: str, port: int) -> Callable[[], None]:
        """Answer scrapes on an address; return what ends that.

        Raises:
            UnavailableError: when the port is taken.
        """
        try:
            server, thread = start_http_server(port, address, self.registry)
        except OSError as error:
            raise UnavailableError(
                f"metrics on {address}:{port}", f"cannot be served: {error.strerror}",
                "choose another metrics.listen",
            ) from error  # fmt: skip

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end

    def write(self, file: Path) -> None:
        """Write the values for node_exporter's textfile collector, readable by all.

        Raises:
            UnavailableError: when it cannot be written.
        """
        try:
            write_durably(file, self.text(), mode=0o644)
        except OSError as error:
            raise UnavailableError(
                str(file), f"cannot be written: {error.strerror}", "look at metrics.textfile"
            ) from error

    def push(self, gateway: str, host: str) -> None:
        """Hand the values to a Pushgateway, in place of all that this host handed over before.

        Raises:
            UnavailableError: when it does not take them, or does not answer as one.
        """
        try:
            push_to_gateway(
                gateway, "llmvault", self.registry, {"instance": host}, timeout=_PUSH_SECONDS
            )
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection, and is kept as the cause of the finding
            raise UnavailableError(
                f"Pushgateway {gateway}", f"{error}" or repr(error), "look at metrics.pushgateway"
            ) from error


def _family(name: str, samples: Sequence[Sample]) -> GaugeMetricFamily:
    labels = list(samples[0].labels)
    family = GaugeMetricFamily(name, samples[0].explained, labels=labels)
    for sample in samples:
        family.add_metric([sample.labels[label] for label in labels], sample.value)
    return family
