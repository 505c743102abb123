"""``llmvault ledger``: the record of what was done, and proofs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmvault.app import App, build_app
from llmvault.app.copying import copy_installation
from llmvault.app.ledger import (
    key_files,
    ledger_files,
    open_ledger,
    verify_time_stamps,
)
from llmvault.app.pinning import keep_outside, ledger_pins, remember_verified
from llmvault.cli import ledger_prune
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, show_checks, show_verdict
from llmvault.cli.views.recovery import copies_json, show_copies
from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.files import write_durably
from llmvault.core.units import format_time
from llmvault.core.verdict import combine
from llmvault.ledger.checkpoint import proof_text
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.model import Entry
from llmvault.ledger.verify import verify_ledger
from llmvault.ledger.witnesses import read_pins

app = new_app("Show what was done, and prove it.")
app.add_typer(ledger_prune.app, name="prune")

_SHOWN = 50


@app.command()
def show(
    first: Annotated[
        int | None, typer.Option("--from", metavar="INDEX", help="First entry shown.")
    ] = None,
    last: Annotated[int, typer.Option(help="How many of the newest are shown.")] = _SHOWN,
    kind: Annotated[str, typer.Option(help="Only kinds that begin so, e.g. drill.")] = "",
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show entries, oldest first."""
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    files = _files(vault)
    head = files.checkpoint().head
    start = max(0, head.size - last) if first is None else first
    entries = [entry for entry in files.entries(start) if entry.kind.startswith(kind)]
    output.emit_json(
        {"origin": head.origin, "size": head.size, "entries": [_document(one) for one in entries]}
    )
    rows = [(one.index, format_time(one.at), one.host, one.kind, _facts(one)) for one in entries]
    output.show_table(f"Ledger {head.origin}", ("index", "at", "host", "kind", "facts"), rows)
    output.show(f"{head.size} entries")
    return 0


@app.command()
def verify(
    pinned: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that you kept; may be repeated.")
    ] = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Do not look into the repositories; that is unproven then."),
    ] = False,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Hash everything anew and compare it with the checkpoints that are kept outside.

    They are kept in every repository of the policy, by its witnesses, and in the files given. Exit
    code 0 proven, 1 failed, 3 unproven: for example when one of these places cannot be looked at.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    files = _files(vault)
    pins, silent = ledger_pins(vault, vault.runner, offline=offline)
    keys, declared = key_files(vault.settings), vault.policy.ledger.time_stamps
    pins = (*pins, *read_pins(pinned or []))
    checks = (*verify_ledger(files, keys.verifiers(), pins), *silent)
    if declared is not None:
        checks = (*checks, verify_time_stamps(files, declared, keys, vault.clock))
    verdict = combine(check.verdict for check in checks)
    remember_verified(vault, verdict, pins, checks)
    output.emit_json({"verdict": verdict.value, "checks": [check_json(one) for one in checks]})
    show_checks(output, checks)
    show_verdict(output, verdict, f"ledger: {verdict.value}")
    return verdict.exit_code


@app.command()
def checkpoint(
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Print the newest checkpoint, hand it to the policy's witnesses, and have it stamped.

    The ledger is copied into the repositories first, so that no copy is older than what is pinned.
    Exit code 3 when a repository or a witness did not take it, or the time stamp authority did not
    stamp it.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    ledger = open_ledger(vault.settings, vault.clock, vault.ids)
    newest = ledger.files.checkpoint()
    checks = keep_outside(vault, vault.runner, now=True)
    output.emit_json(
        {
            "origin": newest.head.origin,
            "size": newest.head.size,
            "root": newest.head.root.hex(),
            "checkpoint": newest.note,
            "checks": [check_json(check) for check in checks],
        }
    )
    _print(output, newest.note)
    show_checks(output, checks)
    return combine(check.verdict for check in checks).exit_code if checks else 0


@app.command()
def copy(
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Copy ledger, policies and catalog into every repository, for the loss of this machine.

    Exit code 3 when one did not take it.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    results = copy_installation(vault)
    output.emit_json({"copies": copies_json(results)})
    show_copies(output, results)
    return combine(one.verdict for one in results).exit_code


@app.command()
def prove(
    index: Annotated[int, typer.Argument(help="The entry's index.")],
    output_file: Annotated[
        Path | None, typer.Option("--output", help="Write the proof here: NAME.tlog-proof.")
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Print the proof that an entry is in the ledger (C2SP tlog-proof)."""
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    files = _files(vault)
    size = files.checkpoint().head.size
    if not 0 <= index < size:
        raise PolicyError(f"entry {index}", f"the ledger has {size} entries, from 0")
    text = proof_text(files.prove(index))
    entry = next(files.entries(index, index + 1), None)
    output.emit_json(
        {"index": index, "proof": text, "entry": entry.data.decode() if entry else None}
    )
    if output_file is not None:
        write_durably(output_file.absolute(), text.encode(), mode=0o644)
        output.show(f"proof: {output_file}")
    else:
        _print(output, text)
    return 0


def _print(output: Output, text: str) -> None:
    """Print lines as they are, never wrapped; not in JSON mode."""
    if not output.json:
        output.write(text.rstrip("\n"))


def _files(vault: App) -> LedgerFiles:
    files = ledger_files(vault.settings)
    if not files.exists():
        raise UnavailableError("ledger", "it has not been begun", "run: llmvault init")
    return files


def _document(entry: Entry) -> dict[str, Any]:
    return {
        "index": entry.index,
        "at": format_time(entry.at),
        "host": entry.host,
        "kind": entry.kind,
        "facts": dict(entry.facts),
    }


def _facts(entry: Entry) -> str:
    shown = (f"{key} {value}" for key, value in entry.facts.items() if isinstance(value, str | int))
    return ", ".join(shown)
