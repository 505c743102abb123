"""``llmvault recovery-points``: list and show what can be brought back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmvault.app import App, build_app
from llmvault.catalog.model import PointEntry
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.core.units import format_seconds, format_size, format_time
from llmvault.recovery_points.find import (
    entry_of,
    find_manifest,
    local_manifest,
    whole_manifests,
)
from llmvault.recovery_points.manifest import header
from llmvault.recovery_points.model import Manifest

app = new_app("List and show what can be brought back.")


@app.command(name="list")
def list_points(
    plan: Annotated[str | None, typer.Option(help="Only this plan's.")] = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="Ask the repositories too, and enter what they hold.")
    ] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """List the recovery points this installation knows, newest first."""
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    if scan:
        _scan(vault)
    points = vault.catalog.points(plan)
    output.emit_json({"recovery_points": [_document(point) for point in points]})
    output.show_table(
        "Recovery points",
        ("id", "plan", "host", "finished", "age", "files", "size", "verdict"),
        [_row(point, vault) for point in points],
    )
    return 0


@app.command()
def show(
    recovery_point: Annotated[str, typer.Argument(metavar="ID", help="Its id, or latest.")],
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show one recovery point: sources, counts, checks, goldens."""
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    manifest = local_manifest(vault.memory, recovery_point)
    if manifest is None:
        manifest, _ = find_manifest(vault.repositories().values(), recovery_point)
    output.emit_json(header(manifest))
    _show(output, manifest)
    return 0


def _scan(vault: App) -> None:
    known = {point.id for point in vault.catalog.points()}
    for repository in vault.repositories().values():
        for manifest in whole_manifests(repository, known):
            vault.catalog.add_point(entry_of(manifest))
            known.add(manifest.id)


def _document(point: PointEntry) -> dict[str, Any]:
    return {
        "id": point.id,
        "plan": point.plan,
        "host": point.host,
        "started": format_time(point.started),
        "finished": format_time(point.finished),
        "verdict": point.verdict,
        "files": point.files,
        "bytes": point.bytes,
        "sources": [dict(source) for source in point.sources],
    }


def _row(point: PointEntry, vault: App) -> tuple[object, ...]:
    age = format_seconds((vault.clock.now() - point.finished).total_seconds())
    finished = format_time(point.finished)
    size = format_size(point.bytes)
    return (point.id, point.plan, point.host, finished, age, point.files, size, point.verdict)


def _show(output: Output, manifest: Manifest) -> None:
    output.show(
        f"{manifest.id}  plan {manifest.plan} on {manifest.host}: {manifest.verdict}",
        f"taken {format_time(manifest.started)} to {format_time(manifest.finished)}",
    )
    output.show_table(
        "Sources",
        ("name", "kind", "files", "size", "snapshots", "verdict", "reason"),
        [
            (
                source.name,
                source.kind,
                source.files,
                format_size(source.bytes),
                ", ".join(f"{name}:{id_[:8]}" for name, id_ in source.snapshots.items()),
                source.verdict,
                source.reason,
            )
            for source in manifest.sources
        ],
    )
    output.show_table(
        "Collections",
        ("source", "collection", "records", "dimension"),
        [
            (source.name, facts.name, facts.count, facts.dimension or "")
            for source in manifest.sources
            for facts in source.observation.collections
        ],
    )
    output.show_table(
        "Checks",
        ("check", "source", "verdict", "detail"),
        [(c.name, c.source, c.verdict, c.detail) for c in manifest.checks],
    )
    names = ", ".join(f"{g['name']} ({len(g['records'])})" for g in manifest.goldens)
    output.show(f"goldens: {names or 'none recorded'}")
