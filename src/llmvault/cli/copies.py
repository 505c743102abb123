"""``llmvault copies``: make copies, and tell whether they are 3-2-1-1-0."""

from __future__ import annotations

from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.copies import make_copies, tell_copies
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.copies import show_copies, show_made

app = new_app("Make copies of repositories; tell whether they are 3-2-1-1-0.")


@app.command()
def status(
    plans: Annotated[list[str] | None, typer.Argument(help="Plans; all if none is named.")] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show three copies, two media, one elsewhere, one immutable or offline, no errors.

    Exit code 0 when all five are proven, 1 when one fails, 3 when one is not known.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    return show_copies(output, {name: tell_copies(vault, name) for name in vault.plan_names(plans)})


@app.command()
def make(
    repositories: Annotated[
        list[str] | None, typer.Argument(help="Copies; all that are declared if none is named.")
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Copy what repositories with copy_of lack, and compare them with their originals.

    Exit code 0 when every snapshot is there, 3 when some are missing, 4 when nothing can be shared.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    return show_made(output, make_copies(vault, repositories))
