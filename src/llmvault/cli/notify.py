"""``llmvault notify``: try the targets, show and send digests."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.notify import show_digest, show_sent
from llmvault.core.errors import PolicyError
from llmvault.core.units import parse_duration, parse_time

app = new_app("Tell people: try who is told, show and send digests.")


@app.command()
def test(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]...", help="Targets of the policy; all if none."),
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Send a test message to each target; checks that are pinged stay as they are.

    Exit code 5 when one did not take it; says why.
    """
    from llmvault.schedule.post import try_targets

    vault = build_app(policies=policies, state=state)
    return show_sent(Output(json=json), "sent", try_targets(vault, tuple(targets or ())))


@app.command()
def digest(
    period: Annotated[
        str, typer.Option(metavar="TIME", help="What it covers, up to now: 1d, 7d, …")
    ] = "7d",
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="RFC 3339 time, instead of --period."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="RFC 3339 time; by default now.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there as an HTML page.")
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send it to the targets that get digests.")
    ] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --send: to this target; may be repeated."),
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show how everything stood in a period: verdicts, RPO and RTO, findings, what is overdue.

    Exit code 5 when a target did not take it; when it is sent again for the same period, those that
    took it are left out.
    """
    from llmvault.schedule.post import digest_of, send_digest, write_page

    vault, out = build_app(policies=policies, state=state), Output(json=json)
    until = _moment("--to", end) or vault.clock.now()
    since = _moment("--from", begin) or until - _duration(period)
    if since >= until:
        raise PolicyError("notify digest", "the period ends before it begins", "swap the times")
    made = digest_of(vault, since, until)
    if output is not None:
        write_page(output, made)
    sent = send_digest(vault, made, tuple(target or ())) if send else ()
    return show_digest(out, made, sent, output)


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return parse_time(text) if text is not None else None
    except ValueError as error:
        raise PolicyError(
            f"notify digest {option}",
            f"{text!r} is no time",
            "write a time such as 2026-09-30T12:00:00Z",
        ) from error


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise PolicyError("notify digest --period", str(error), "write for example 7d") from error
