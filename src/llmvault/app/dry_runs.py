"""What a restore or a drill would read from where, and what that costs at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from llmvault.app.base import App
from llmvault.app.copies import cost_of
from llmvault.core.progress import Silent
from llmvault.drill.points import find_point
from llmvault.objectstore.costs import Estimate
from llmvault.recovery_points.model import Manifest
from llmvault.restore.model import FetchPlan, RestoreRequest
from llmvault.restore.plan import plan_fetch
from llmvault.restore.run import decide

Planned = tuple[Manifest, tuple[FetchPlan, ...], tuple[Estimate, ...]]


def plan_restore(app: App, request: RestoreRequest) -> Planned:
    """Return what a restore would fetch; only manifests are read.

    Raises:
        VaultError: when the target is refused or the recovery point cannot be had.
    """
    manifest, fetches = decide(app.restore_ports(Silent()), request)
    return manifest, fetches, _estimates(app, manifest, fetches)


def plan_drill(app: App, plan: str, recovery_point: str) -> Planned:
    """Return what a drill would fetch; only manifests are read.

    Raises:
        VaultError: when the recovery point cannot be had.
    """
    declared = app.plan(plan)
    repositories = app.repositories(declared.repositories)
    first = next(iter(repositories.values()))
    manifest = find_point(first, plan, recovery_point, choose=app.ids.choose).manifest
    request = RestoreRequest(manifest.id, app.settings.scratch)
    fetches = plan_fetch(manifest, request, tuple(repositories))
    return manifest, fetches, _estimates(app, manifest, fetches)


def _estimates(app: App, manifest: Manifest, fetches: Iterable[FetchPlan]) -> tuple[Estimate, ...]:
    sizes: Counter[str] = Counter()
    for fetch in fetches:
        sizes[fetch.repository] += manifest.source(fetch.source).bytes
    found = (cost_of(app, name, size) for name, size in sizes.items())
    return tuple(one for one in found if one is not None)
