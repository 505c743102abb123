"""The holds of this installation."""

from __future__ import annotations

from llmvault.app.base import App
from llmvault.holds.store import HoldStore


def hold_store(app: App) -> HoldStore:
    """Return every hold that this installation knows."""
    return HoldStore(app.settings.state / "holds", app.catalog)
