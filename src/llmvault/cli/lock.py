"""``llmvault lock``: status, extend, undelete."""

from __future__ import annotations

from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.locks import bring_objects_back, extend_all, plan_return, tell_locks
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.locks import show_locks, show_undelete
from llmvault.core.errors import PolicyError
from llmvault.core.units import parse_time

app = new_app("See how long backups are locked, make it longer, undo a deletion.")
Repositories = Annotated[
    list[str] | None, typer.Argument(help="Repositories; all with a lock if none is named.")
]


@app.command()
def status(
    repositories: Repositories = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show the earliest lapse over everything that kept recovery points need.

    Exit code 0 when all of it is locked, 1 when something is not, is hidden, or has lapsed.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    return show_locks(output, tell_locks(vault, repositories))


@app.command()
def extend(
    repositories: Repositories = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Extend the locks that would lapse too soon; goes on where a killed run was.

    Exit code 0 when everything is locked afterwards, 1 when something is not.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)

    def tell(name: str, done: int, of: int) -> None:
        output.note(f"{name}: {done:,} of {of:,} locks extended")

    return show_locks(output, extend_all(vault, repositories, tell))


@app.command()
def undelete(
    repository: Annotated[str, typer.Argument(help="The repository.")],
    before: Annotated[
        str, typer.Option(metavar="TIME", help="The moment to go back to: 2026-01-02T03:04:05Z.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would come back.")] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Bring back what was hidden or overwritten since a moment; locked versions are still there.

    What restic itself pruned before that moment stays hidden. Exit code 0.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    try:
        moment = parse_time(before)
    except ValueError as error:
        raise PolicyError("--before", str(error), "e.g. 2026-01-02T03:04:05Z") from error
    plan = plan_return(vault, repository, moment)
    done = None if dry_run else bring_objects_back(vault, repository, plan)
    return show_undelete(output, repository, plan, done)
