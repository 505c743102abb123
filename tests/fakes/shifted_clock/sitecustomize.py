"""Imported by Python at its start when this folder is on PYTHONPATH: llmvault's clock is off.

LLMVAULT_TEST_CLOCK_OFF holds by how many seconds. restic's clock stays right.
"""

import os
from datetime import UTC, datetime, timedelta

from llmvault.core.clock import SystemClock

_OFF = timedelta(seconds=float(os.environ.get("LLMVAULT_TEST_CLOCK_OFF", "0")))


def _now(_: SystemClock) -> datetime:
    return datetime.now(UTC) + _OFF


SystemClock.now = _now  # type: ignore[method-assign,assignment]
