"""``llmvault restore``: bring a recovery point back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.dry_runs import plan_restore
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.progress import progress
from llmvault.cli.views.checks import note_unproven
from llmvault.cli.views.dry_runs import show_restore_plan
from llmvault.cli.views.restore import show_restore
from llmvault.core.errors import PolicyError
from llmvault.restore.model import RestoreRequest

app = new_app("Bring a recovery point back into a fresh directory, every byte verified.")


@app.command()
def restore(
    recovery_point: Annotated[str, typer.Argument(metavar="ID", help="Its id, or latest.")],
    target: Annotated[Path, typer.Option(help="A new or empty directory.")],
    plan: Annotated[str | None, typer.Option(help="The plan that latest speaks of.")] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source; may be repeated.")
    ] = None,
    into: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=[KIND:]ADDRESS",
            help="Load a store into a fresh one; a records capture also into another KIND.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be read, and what it costs at most.")
    ] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Bring a recovery point back into TARGET/<source>, every byte verified.

    Exit code 0 when all is as recorded, 1 when not, 4 when the target is refused.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    request = RestoreRequest(
        recovery_point, target.absolute(), plan, tuple(source or ()), _addresses(into or [])
    )
    if dry_run:
        return show_restore_plan(output, *plan_restore(vault, request))
    with progress(output) as bars:
        result = vault.bring_back(request, bars)
    code = show_restore(output, result)
    note_unproven(output, vault.pin_ledger())
    return code


def _addresses(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, equals, address in pairs:
        if not (name and equals and address):
            raise PolicyError("--into", "it takes SOURCE=ADDRESS", "e.g. --into db=postgresql:///x")
    return {name: address for name, _, address in pairs}
