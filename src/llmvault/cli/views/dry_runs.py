"""What a restore or a drill would read."""

from __future__ import annotations

from collections.abc import Sequence

from llmvault.cli.output import Output
from llmvault.cli.views.copies import estimate_json, show_estimates
from llmvault.core.units import format_size
from llmvault.objectstore.costs import Estimate
from llmvault.recovery_points.model import Manifest
from llmvault.restore.model import FetchPlan


def show_restore_plan(
    output: Output,
    manifest: Manifest,
    fetches: Sequence[FetchPlan],
    estimates: Sequence[Estimate],
) -> int:
    """Show sources, repositories, bytes and costs; nothing was restored."""
    rows = [
        (one.source, one.repository, one.snapshot[:8], manifest.source(one.source).bytes)
        for one in fetches
    ]
    output.emit_json(
        {
            "recovery_point": manifest.id,
            "fetches": [
                {"source": source, "repository": name, "snapshot": snapshot, "bytes": size}
                for source, name, snapshot, size in rows
            ],
            "bytes": sum(row[3] for row in rows),
            "estimates": [estimate_json(one) for one in estimates],
        }
    )
    output.show_table(
        f"{manifest.id} would be read",
        ("source", "repository", "snapshot", "bytes"),
        [(*row[:3], format_size(row[3])) for row in rows],
    )
    show_estimates(output, estimates)
    return 0
