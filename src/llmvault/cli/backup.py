"""``llmvault backup``: take recovery points."""

from __future__ import annotations

from typing import Annotated

import typer

from llmvault.app import App, build_app
from llmvault.backup.model import BackupPlan
from llmvault.backup.run import decide
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.progress import progress
from llmvault.cli.views.backup import show_backups, show_plans
from llmvault.cli.views.checks import note_unproven
from llmvault.core.progress import Silent

app = new_app("Take a recovery point of each plan: capture, read, cross-check, record.")


@app.command()
def backup(
    plans: Annotated[list[str] | None, typer.Argument(help="Plans; all if none is named.")] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be read.")] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Take a recovery point of each plan: capture, read, cross-check, record.

    Exit code 0 when every recovery point is proven, 1 failed, 3 unproven, 5 unavailable.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    names = vault.plan_names(plans)
    if dry_run:
        return show_plans(output, [_decide(vault, name, source or ()) for name in names])
    with progress(output) as bars:
        results = [vault.back_up(name, source or (), bars) for name in names]
    code = show_backups(output, results)
    note_unproven(output, vault.pin_ledger())
    return code


def _decide(vault: App, plan: str, sources: list[str] | tuple[str, ...]) -> BackupPlan:
    ports = vault.backup_ports(plan, Silent(), vault.versions)
    return decide(ports, vault.backup_request(plan, sources))
