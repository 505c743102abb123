"""``llmvault evidence``: export, verify, report."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.evidence import show_exported, show_verified
from llmvault.core.errors import PolicyError
from llmvault.core.units import parse_time

app = new_app("Signed evidence for auditors: make it, verify it anywhere, show it.")

_QUARTER = timedelta(days=92)
_BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's file.")]


@app.command()
def export(
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the bundle.")],
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Day or RFC 3339 time; by default 92 days ago."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="TIME", help="Day (its end) or RFC 3339 time; by default now."
        ),
    ] = None,
    framework: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="soc2, iso27001, dora, …; again for more. All if none."),
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Write a signed bundle of what was proven, what failed and what is unproven in a period.

    It is written whatever it shows. Exit code 0 when the newest evidence is proven, 1 when some of
    it failed, 3 when some is unproven.
    """
    from llmvault.app.evidence import export_evidence, public_key
    from llmvault.evidence.run import ExportRequest

    vault, out = build_app(policies=policies, state=state), Output(json=json)
    until = _moment("--to", end, time.max) or vault.clock.now()
    since = _moment("--from", begin, time.min) or until - _QUARTER
    if since > until:
        raise PolicyError("evidence export", "--from is after --to", "swap them")
    request = ExportRequest(output.absolute(), since, until, tuple(framework or ()))
    return show_exported(out, export_evidence(vault, request), public_key(vault))


@app.command()
def verify(
    bundle: _BundleArgument,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="PUBLIC", help="Public key (PEM) that you have from the bundle's owner."
        ),
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Verify a bundle with nothing but itself and a public key; no network, policy or state.

    Exit code 0 when every bit holds, 1 when anything was changed, 3 when something could not be
    told, such as whose key it is.
    """
    from llmvault.evidence.run import run_verify
    from llmvault.keys.signing import signature_holds

    del policies, state  # they are taken as every command takes them, and not needed
    return show_verified(Output(json=json), run_verify(bundle, key, signature_holds))


@app.command()
def report(
    bundle: _BundleArgument,
    output: Annotated[Path, typer.Option(metavar="HTML", help="Where to write the page.")],
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Make a bundle's page anew from its statements; verify the bundle first."""
    from llmvault.evidence.run import run_report

    del policies, state
    verdict = run_report(bundle, output.absolute())
    out = Output(json=json)
    out.emit_json({"report": str(output.absolute()), "verdict": verdict.value})
    out.show(f"report: {output.absolute()}")
    return 0


def _moment(option: str, text: str | None, of_day: time) -> datetime | None:
    """Return the moment of a text; a day stands for its first or last moment, in UTC."""
    if text is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), of_day, UTC)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError as error:
        raise PolicyError(
            f"evidence export {option}",
            f"{text!r} is no time",
            "write a day such as 2026-09-30, or a time such as 2026-09-30T12:00:00Z",
        ) from error
