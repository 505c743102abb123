"""``llmvault verify``: read packs back, a part at a time."""

from __future__ import annotations

from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.copies import verify as run_verify
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.copies import show_verified

app = new_app("Read the packs of repositories back, the part that waited longest first.")


@app.command()
def verify(
    repositories: Annotated[
        list[str] | None, typer.Argument(help="Repositories; all if none is named.")
    ] = None,
    parts: Annotated[int, typer.Option(min=1, help="How many parts to read.")] = 1,
    everything: Annotated[bool, typer.Option("--all", help="Read every part.")] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Read the next part of every repository back, and what is overdue; takes no lock.

    Exit code 0 when what was read is sound, 1 when something is damaged, 3 when it could not be
    read.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)

    def tell(name: str, part: int, of: int) -> None:
        output.note(f"{name}: reading part {part} of {of}")

    return show_verified(
        output, run_verify(vault, repositories, None if everything else parts, tell)
    )
