"""Jobs for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from llmvault.policy.cron import parse_cron
from llmvault.schedule.model import Job


def job(at: str | None = None, **changes: Any) -> Job:  # noqa: ANN401
    """Return a job of host gpu-1 by a cron expression, or `every` so often."""
    values: dict[str, Any] = {
        "name": "nightly",
        "kind": "backup",
        "owner": "gpu-1",
        "cron": parse_cron(at) if at else None,
        "every": None,
        "zone": ZoneInfo("UTC"),
        "jitter": timedelta(),
        "grace": timedelta(hours=1),
        "limit": timedelta(hours=2),
        "retries": 3,
        "backoff": timedelta(minutes=5),
    }
    return Job(**values | changes)
