"""``llmvault ledger prune``: old entries go by a written policy, and the tree stays whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.pruning import apply_approved, ask_prune, limits_now, make_prune_plan
from llmvault.app.retention import access_ports
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.recovery import keeping_copy
from llmvault.ledger.witnesses import read_pins

app = new_app("Prune old entries by the policy; their hashes stay, and every proof with them.")

PinnedOption = Annotated[
    list[Path] | None, typer.Option(help="A checkpoint that you kept; may be repeated.")
]


@app.command()
def plan(
    request: Annotated[
        bool, typer.Option("--request", help="Keep the plan, and ask to have it approved.")
    ] = False,
    by: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="PERSON",
            help="Who you are, where your account does not tell.",
            show_default=False,
        ),
    ] = "",
    pinned: PinnedOption = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show which entries would go and what keeps the others. Nothing is removed.

    Entries go that are older than the policy keeps, that a checkpoint kept outside covers, and that
    concern nothing held. The digest names the plan; it is what people approve.
    """
    from llmvault.access.run import who_asks

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    person = who_asks(access_ports(vault), by)
    limits = limits_now(vault, read_pins(pinned or []))
    made = make_prune_plan(vault, limits)
    with keeping_copy(vault, output):
        asked = ask_prune(vault, made, person) if request and made else None
    output.emit_json(
        {
            "plan": made.document if made else None,
            "digest": made.digest if made else None,
            "limit": limits.reason,
            "requested": asked is not None,
        }
    )
    if made is None:
        output.show(f"nothing to prune: {limits.reason}")
        return 0
    count = made.minimum - made.before
    output.show(f"{count} entries go, {made.before} to {made.minimum - 1}, up to {made.newest}")
    output.show(f"kept {made.keep} by {made.basis}; the rest stays: {limits.reason}")
    step = "approve" if asked else "ledger prune plan --request, then approve"
    output.show(f"plan {made.digest}", f"next: llmvault {step}")
    return 0


@app.command()
def apply(
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="Of the plan, or its first 8 characters.")
    ],
    pinned: PinnedOption = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Remove exactly the entries that an approved plan names. Run again after it died: it goes on.

    Exit code 1 when the ledger does not verify, 4 when the plan is not approved or does not fit.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    with keeping_copy(vault, output):
        done = apply_approved(vault, digest, read_pins(pinned or []))
    output.emit_json(
        {
            "digest": done.plan.digest,
            "minimum": done.plan.minimum,
            "files": done.files,
            "approved_by": list(done.approved_by),
        }
    )
    output.show(f"entries before {done.plan.minimum} are pruned; their hashes stay")
    return 0
