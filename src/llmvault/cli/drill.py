"""``llmvault drill``: prove that a recovery point works."""

from __future__ import annotations

from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.dry_runs import plan_drill
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.progress import progress
from llmvault.cli.views.checks import note_unproven
from llmvault.cli.views.drill import show_drill
from llmvault.cli.views.dry_runs import show_restore_plan
from llmvault.core.errors import PolicyError
from llmvault.drill.plan import DrillRequest
from llmvault.drill.run import run_drill

app = new_app("Restore a recovery point onto a scratch host and make the model answer.")


@app.command()
def drill(
    plan: Annotated[
        str | None, typer.Argument(help="The plan; may be left out if only one.")
    ] = None,
    recovery_point: Annotated[str, typer.Option(help="latest, random, or an id.")] = "latest",
    host: Annotated[str, typer.Option(help="Scratch host.")] = "local",
    record: Annotated[
        bool, typer.Option("--record", help="Record goldens that the recovery point lacks.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be read, and what it costs at most.")
    ] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Restore a recovery point onto a scratch host, verify it and make the model answer.

    Exit code 0 proven, 1 failed, 3 unproven.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    names = vault.plan_names([plan] if plan else None)
    if len(names) > 1:
        raise PolicyError("drill", "the policy has several plans", f"name one: {', '.join(names)}")
    if dry_run:
        return show_restore_plan(output, *plan_drill(vault, names[0], recovery_point))
    with progress(output) as bars:
        ports = vault.drill_ports(names[0], host, bars)
        result = run_drill(ports, DrillRequest(names[0], recovery_point, record))
    code = show_drill(output, result)
    note_unproven(output, vault.pin_ledger(copy=True))
    return code
