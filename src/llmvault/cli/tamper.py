"""``llmvault tamper``: try to destroy backups with the credential that makes them."""

from __future__ import annotations

from typing import Annotated

import typer

from llmvault.app import build_app
from llmvault.app.buckets import stores, tamper_with
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, show_checks
from llmvault.core.errors import PolicyError
from llmvault.core.verdict import combine

app = new_app("Try to destroy backups with the credential that makes them; want to be refused.")


@app.command()
def tamper(
    repositories: Annotated[
        list[str] | None, typer.Argument(help="Repositories; all in object stores if none.")
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Try to delete a version, shorten a lock and suspend versioning, on a canary object.

    Exit code 0 when every attempt was refused, 1 when one was accepted, 3 when one could not be
    tried.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    if not stores(vault, repositories):
        raise PolicyError(
            "tamper test", "no repository declares its object_store", "there is nothing to test"
        )
    results = tamper_with(vault, repositories)
    verdict = combine(result.verdict for result in results)
    checks = [check for result in results for check in result.checks]
    output.emit_json({"verdict": verdict.value, "checks": [check_json(one) for one in checks]})
    show_checks(output, checks)
    return verdict.exit_code
