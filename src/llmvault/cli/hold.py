"""``llmvault hold``: what must not be deleted, whatever any rule says."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.holds import hold_store
from llmvault.app.retention import hold_ports
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.recovery import keeping_copy
from llmvault.core.errors import PolicyError
from llmvault.core.units import format_time, parse_time
from llmvault.holds.model import Hold, HoldRecord, record_json

app = new_app("Place, release and list legal holds. What is held is not deleted.")

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
def add(
    matter: Annotated[str, typer.Option(help="What it is held for, e.g. a case number.")],
    why: Annotated[str, typer.Option(help="Why, in a sentence without names of people.")],
    recovery_point: Annotated[
        str, typer.Option(metavar="ID", help="Hold this recovery point.")
    ] = "",
    source: Annotated[
        str, typer.Option(metavar="NAME", help="Hold every recovery point of this source.")
    ] = "",
    subject: Annotated[
        str, typer.Option(metavar="HANDLE", help="Hold what concerns this data subject.")
    ] = "",
    logs: Annotated[
        str,
        typer.Option(
            metavar="FROM..TO",
            help="Hold the logs of these days: llmvault's own, and every recovery point that may"
            " hold some.",
        ),
    ] = "",
    in_source: Annotated[
        str, typer.Option(metavar="NAME", help="With --logs: they are in this source alone.")
    ] = "",
    until: Annotated[
        str, typer.Option(metavar="DATE", help="When to look at it again; it holds on after that.")
    ] = "",
    by: AsOption = "",
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Place a hold on one thing. It holds until people release it."""
    from llmvault.holds.run import place_hold

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    kind, target = _target(recovery_point, source, subject, logs)
    ports = hold_ports(vault)
    wanted = Hold(
        id="",
        kind=kind,
        target=target,
        matter=matter,
        why=why,
        by=by,
        placed=vault.clock.now(),
        until=_moment(until),
        in_source=in_source,
    )
    with keeping_copy(vault, output):
        placed = place_hold(ports, wanted)
    output.emit_json(record_json(HoldRecord(placed)))
    output.show(f"{placed.id} holds {placed.what} for {placed.matter}")
    return 0


@app.command()
def release(
    hold: Annotated[str, typer.Argument(metavar="ID", help="The hold.")],
    by: AsOption = "",
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Release a hold that others approved to release; the first time, ask them.

    Exit code 4 as long as it is not approved; the message says what to let them run.
    """
    from llmvault.holds.run import release_hold

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    with keeping_copy(vault, output):
        record = release_hold(hold_ports(vault), hold, by)
    output.emit_json(record_json(record))
    output.show(f"{record.hold.id} is released: {record.hold.what}")
    return 0


@app.command(name="list")
def list_holds(
    everything: Annotated[
        bool, typer.Option("--all", help="Those that were released, too.")
    ] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """List what is held, for what, by whom."""
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    store = hold_store(vault)
    records = store.records() if everything else store.active()
    output.emit_json({"holds": [record_json(record) for record in records]})
    now = vault.clock.now()
    output.show_table(
        "Holds",
        ("id", "on", "matter", "why", "by", "placed", "until"),
        [
            (
                record.hold.id,
                record.hold.what,
                record.hold.matter,
                record.hold.why,
                record.hold.by,
                format_time(record.hold.placed),
                _until(record, now),
            )
            for record in records
        ],
    )
    return 0


def _target(recovery_point: str, source: str, subject: str, logs: str) -> tuple[str, str]:
    given = {
        "recovery-point": recovery_point,
        "source": source,
        "subject": subject,
        "log-range": logs,
    }
    named = [(kind, target) for kind, target in given.items() if target]
    if len(named) != 1:
        raise PolicyError(
            "hold",
            f"{len(named)} things are named; a hold is on one",
            "give one of --recovery-point, --source, --subject, --logs",
        )
    return named[0]


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise PolicyError("--until", str(error), "write for example 2027-01-31") from error


def _until(record: HoldRecord, now: datetime) -> str:
    if record.release:
        return f"released {format_time(record.release.at)} by {record.release.by}"
    if record.hold.until is None:
        return "released"
    due = ", look at it again" if record.hold.until < now else ""
    return f"{format_time(record.hold.until)}{due}"
