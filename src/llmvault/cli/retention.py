"""``llmvault retention``: what is kept, what goes, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.retention import class_names, retention_ports, retention_store
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.recovery import keeping_copy
from llmvault.cli.views.retention import (
    apply_document,
    plan_document,
    scheduled_document,
    show_apply,
    show_class,
    show_plan,
    show_scheduled,
)

app = new_app("Plan what is deleted, apply what was approved, and tell what was.")

ClassOption = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="NAME", help="Only this retention class; may be repeated."),
]
AsOption = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="PERSON",
        help="Who you are, where your account does not tell.",
        show_default=False,
    ),
]


@app.command()
def plan(
    classes: ClassOption = None,
    request: Annotated[
        bool, typer.Option("--request", help="Keep the plan, and ask to have it approved.")
    ] = False,
    by: AsOption = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Show every recovery point, also where many stay.")
    ] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show of every recovery point whether it stays or goes, and why. Nothing is deleted.

    The digest names the plan; it is what people approve. Exit code 1 when the locks in a storage
    end sooner than they must, 2 when a rule matches nothing or everything.
    """
    from llmvault.access.run import who_asks
    from llmvault.retention.run import ask_approval, make_plan

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    ports = retention_ports(vault, classes or ())
    by = who_asks(ports.access, by)
    made = make_plan(ports)
    with keeping_copy(vault, output):
        asked = ask_approval(ports, made, by) if request and made.going else None
    output.emit_json(plan_document(made, asked))
    show_plan(output, made, asked, everything=everything)
    return 1 if made.findings else 0


@app.command()
def apply(
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="Of the plan, or its first 8 characters.")
    ],
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Delete exactly what an approved plan says, then free the space.

    Run again after it died: it goes on. Exit code 1 when something could not be deleted, 4 when the
    plan is not approved or no longer fits the world, 5 when a repository could not be worked on.
    """
    from llmvault.retention.run import apply_plan

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    planned = retention_store(vault).plan(digest)
    names = [kept["name"] for kept in planned.classes()]
    known = [name for name in names if name in vault.policy.retention]
    with keeping_copy(vault, output):
        result = apply_plan(retention_ports(vault, known), planned.digest)
    output.emit_json(apply_document(result))
    show_apply(output, result)
    return result.verdict.exit_code


@app.command()
def run(
    classes: ClassOption = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Apply the plans that were approved, then ask for what may go; for schedules.

    What nobody approved is not deleted. Exit code 0 when nothing waits, 3 while something waits for
    approval, 1 when something could not be deleted or locks end sooner than they must.
    """
    from llmvault.access.run import who_asks
    from llmvault.retention.scheduled import run_scheduled

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    names = class_names(vault, classes or ())
    ports = retention_ports(vault, names)
    with keeping_copy(vault, output):
        done = run_scheduled(
            lambda chosen: retention_ports(vault, chosen), names, who_asks(ports.access, "")
        )
    output.emit_json(scheduled_document(done))
    show_scheduled(output, done)
    return done.verdict.exit_code


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="The retention class.")],
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every line there, too.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report there, too.")
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show of a class: kept how long and by which law, what was deleted, what could not be."""
    from llmvault.retention.account import account_for, write_csv, write_html

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    ports = retention_ports(vault, [name])
    account = account_for(ports, vault.catalog.deletions(name))
    if csv is not None:
        write_csv(csv, account)
    if html is not None:
        write_html(html, account)
    output.emit_json(account.document())
    show_class(output, account)
    return 0
