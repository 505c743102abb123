"""The ledger: appends that share commits, a million entries verified, a proof."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.clock import SystemClock
from llmvault.keys.store import KeyFiles
from llmvault.ledger.verify import verify_ledger
from llmvault.ledger.writer import TileLedger

THREADS, EACH = 64, 60


@dataclass(frozen=True)
class LedgerFigures:
    """What was measured: seconds, but for the rate of appends per second."""

    appends_a_second: float
    entries: int
    verify: float
    proof: float


def measure_ledger(directory: Path, *, entries: int) -> LedgerFigures:
    """Append by many threads at once, fill up to `entries`, verify all of them, prove one."""
    keys = KeyFiles(directory / "keys")
    keys.make("bench/llmvault/ledger")
    ledger = TileLedger(
        directory / "ledger", keys.signing_key, keys.verifiers, SystemClock(), "bench"
    )
    ledger.begin("bench/llmvault/ledger")

    def work() -> None:
        for number in range(EACH):
            ledger.append("bench.entry", {"number": number})

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = THREADS * EACH / (time.monotonic() - began)
    while (size := ledger.files.checkpoint().head.size) < entries:
        count = min(100_000, entries - size)
        ledger.append_all([("bench.entry", {"number": number}) for number in range(count)])
    began = time.monotonic()
    checks = verify_ledger(ledger.files, keys.verifiers(), ())
    verified = time.monotonic() - began
    if [check.verdict.value for check in checks] != ["proven", "proven", "proven", "unproven"]:
        raise SystemExit(f"the ledger does not verify: {checks}")
    began = time.monotonic()
    ledger.files.prove(entries // 2)
    return LedgerFigures(rate, entries, verified, time.monotonic() - began)
