"""Logging set-up: one line per event on standard error, with UTC times."""

from __future__ import annotations

import logging
import time


def configure(*, verbose: bool) -> None:
    """Send llmvault's log to standard error: warnings, or everything when verbose."""
    formatter = logging.Formatter(
        "%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logger = logging.getLogger("llmvault")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
