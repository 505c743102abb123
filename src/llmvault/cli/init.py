"""``llmvault init``: create what the policy declares, or recover an installation that was lost."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from llmvault.app import App, build_app
from llmvault.app.buckets import set_up_stores
from llmvault.app.copies import create, creation_order
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, show_checks
from llmvault.cli.views.recovery import keep_copy, show_recovery
from llmvault.core.errors import PolicyError
from llmvault.core.verdict import combine
from llmvault.ledger.recorded import recorded

app = new_app("Create the repositories and the catalog that the policy declares.")


@app.command()
def init(
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take repositories as they are, even if they were replaced."),
    ] = False,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="Bring a lost installation back from a repository."),
    ] = False,
    repository: Annotated[
        str, typer.Option(help="With --recover: its address, as restic writes it.")
    ] = "",
    password: Annotated[
        str, typer.Option(help="With --recover: env:NAME, file:PATH or cmd:COMMAND.")
    ] = "",
    environment: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=REF", help="With --recover: a variable of the backend."),
    ] = None,
    pinned: Annotated[
        list[Path] | None,
        typer.Option(help="With --recover: a checkpoint that you kept, or a witness's directory."),
    ] = None,
    pinned_repository: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="With --recover: another repository of the installation."
        ),
    ] = None,
    pinned_password: Annotated[
        list[str] | None,
        typer.Option(metavar="REF", help="Of each --pinned-repository; else it is --password."),
    ] = None,
    origin: Annotated[
        str, typer.Option(help="With --recover: which installation, if there are several.")
    ] = "",
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Create the repositories and the catalog that the policy declares, where they do not exist.

    Object stores are set up first, and every setting is read back. Exit code 0 when every
    repository opens, 1 when a store did not keep a setting, 5 when one cannot be reached.

    With --recover, make catalog, policies and ledger again on an empty machine. Exit code 0 when
    the ledger is proven by a pinned checkpoint or by another repository, 1 when it is older or
    another one (nothing is put in place then), 3 when nothing pins it.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    given = {
        "--repository": repository,
        "--password": password,
        "--environment": environment,
        "--pinned": pinned,
        "--pinned-repository": pinned_repository,
        "--pinned-password": pinned_password,
        "--origin": origin,
    }
    if recover:
        _demand({"--repository": repository, "--password": password})
        variables = dict(_split(one) for one in environment or ())
        others = _others(password, pinned_repository or [], pinned_password or [])
        place = ((repository, password), *others)
        return _recover(vault, output, place, variables, tuple(pinned or ()), origin)
    for option, value in given.items():
        if value:
            raise PolicyError(option, "it is of use with --recover alone", "llmvault init --help")
    return _create(vault, output, adopt=adopt)


def _create(vault: App, output: Output, *, adopt: bool) -> int:
    vault.catalog.close()
    with recorded(vault.ledger, "init", {"policy": vault.loaded.digest}) as end:
        settings = set_up_stores(vault)
        rows = [(name, *create(vault, name)) for name in creation_order(vault)]
        end["repositories"] = {name: identity for name, identity, _ in rows}
    if adopt:
        _adopt(vault)
    keep_copy(vault, output)
    output.emit_json(
        {
            "repositories": [{"name": n, "id": i, "created": c == "created"} for n, i, c in rows],
            "stores": [check_json(check) for check in settings],
        }
    )
    if settings:
        show_checks(output, settings)
    output.show_table("Repositories", ("name", "id", ""), rows)
    return combine(check.verdict for check in settings).exit_code if settings else 0


def _adopt(vault: App) -> None:
    from llmvault.app.copying import forget_copies

    for plan, declared in vault.policy.plans.items():
        for name in declared.repositories:
            vault.memory.forget_repository(plan, name)
    forget_copies(vault)


def _recover(
    vault: App,
    output: Output,
    places: tuple[tuple[str, str], ...],
    variables: dict[str, str],
    pinned: tuple[Path, ...],
    origin: str,
) -> int:
    """Recover from the first of the repositories; the others have pinned its ledger."""
    from llmvault.app.recovery import recovery_ports, repository_at
    from llmvault.recovery.run import RecoveryRequest, run_recovery

    try:
        repository, *others = [
            repository_at(vault, address, password, variables, f"pinned-{n}" if n else "recovered")
            for n, (address, password) in enumerate(places)
        ]
    except ValueError as error:
        raise PolicyError("init --recover", str(error), "llmvault init --help") from error
    ports = recovery_ports(vault, repository)
    named = {one.name: partial(replace, one) for one in others}
    with vault.memory.exclusive("recover"):
        result = run_recovery(ports, RecoveryRequest(pinned, named, origin))
    return show_recovery(output, result)


def _others(password: str, addresses: list[str], passwords: list[str]) -> list[tuple[str, str]]:
    """Return address and password of other repositories, which may have the same password."""
    if passwords and len(passwords) != len(addresses):
        raise PolicyError(
            "--pinned-password",
            f"{len(passwords)} for {len(addresses)} repositories",
            "give one for each --pinned-repository, or none where they have that of --password",
        )
    return list(zip(addresses, passwords or [password] * len(addresses), strict=True))


def _demand(options: dict[str, str]) -> None:
    for option, value in options.items():
        if not value:
            raise PolicyError(
                "init --recover", f"it needs {option}", "see runbooks/recover-from-nothing.md"
            )


def _split(text: str) -> tuple[str, str]:
    name, equals, reference = text.partition("=")
    if not equals or not name:
        raise PolicyError("--environment", "it is not of the form NAME=REF", "NAME=file:/PATH")
    return name, reference
