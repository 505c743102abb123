"""What reading from a store costs, before it is done. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_COLD = ("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "ARCHIVE", "COLD", "STANDARD_IA", "ONEZONE_IA")
_GB = 1e9
_METADATA_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Prices:
    """A provider's prices; see ``prices`` in a policy."""

    currency: str
    requests_per_1000: float
    egress_per_gb: float
    retrieval_per_gb: float
    retrieval_requests_per_1000: float
    retrieval_seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a restore would take from a store.

    Attributes:
        bytes: at most: what is compressed or deduplicated in the repository is less.
        requests: GET requests for packs, and some for index and snapshots.
        cost: in `currency`; None without a price table.
        wait_s: until cold objects can be read.
    """

    repository: str
    storage_class: str
    bytes: int
    requests: int
    cost: float | None
    currency: str
    wait_s: float
    basis: str


def estimate(
    repository: str, size: int, pack_bytes: int, storage_class: str, prices: Prices | None
) -> Estimate:
    """Return what reading `size` bytes takes, each pack once."""
    packs = math.ceil(size / pack_bytes)
    requests = packs + _METADATA_REQUESTS
    cold = storage_class in _COLD
    if prices is None:
        return Estimate(repository, storage_class, size, requests, None, "", 0.0, "")
    cost = requests / 1000 * prices.requests_per_1000 + size / _GB * prices.egress_per_gb
    if cold:
        cost += size / _GB * prices.retrieval_per_gb
        cost += packs / 1000 * prices.retrieval_requests_per_1000
    wait = prices.retrieval_seconds if cold else 0.0
    return Estimate(
        repository, storage_class, size, requests, round(cost, 4), prices.currency, wait,
        prices.source,
    )  # fmt: skip
