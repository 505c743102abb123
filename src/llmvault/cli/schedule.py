"""``llmvault schedule``: run, list, install."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from llmvault.app import build_app
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.core.errors import PolicyError
from llmvault.core.units import parse_duration
from llmvault.schedule.model import FLEET
from llmvault.schedule.wiring import (
    DaemonSettings,
    build_daemon,
    list_jobs,
    listen_address,
    teller_of,
)

app = new_app("Do the policy's jobs by the clock, on this host and for the fleet.")


@app.command()
def run(
    heartbeat: Annotated[
        str, typer.Option(help="How often this host tells the others that it is there.")
    ] = "60s",
    finish_within: Annotated[
        str, typer.Option(help="How long runs may go on after SIGTERM before they are stopped.")
    ] = "60s",
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Runs at the same time.")] = 2,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> None:
    """Do the jobs until SIGTERM; SIGHUP reads the policy anew.

    A second scheduler on the same state directory ends at once with exit code 5.
    """
    from llmvault.schedule.publish import MetricsPublisher
    from llmvault.schedule.runner import Threads, run_daemon

    vault = build_app(policies=policies, state=state)
    settings = DaemonSettings(_duration(heartbeat), _duration(finish_within), parallel)
    with vault.memory.exclusive("schedule"):
        threads = Threads(vault.clock, vault.ids, parallel)
        teller, publisher = teller_of(vault), MetricsPublisher(listen_address(vault))
        try:
            daemon = build_daemon(vault, settings, threads, teller, publisher)
            run_daemon(daemon, threads, vault.clock)
        finally:
            teller.close()
            publisher.close()
    Output(json=json).emit_json({"stopped": True, "jobs": [job.name for job in daemon.jobs]})


@app.command("list")
def list_(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> int:
    """Show when each job is next, how it last went, and what is overdue.

    Exit code 1 when a job is overdue, 0 otherwise.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    jobs = list_jobs(vault)
    output.emit_json({"jobs": list(jobs)})
    columns = ("job", "kind", "on", "next", "last", "verdict", "overdue since")
    output.show_table("Jobs", columns, [_row(job) for job in jobs])
    return 1 if any(job["overdue_since"] for job in jobs) else 0


@app.command()
def install(
    crontab: Annotated[
        bool, typer.Option("--crontab", help="A file for /etc/cron.d instead of a systemd unit.")
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="Where to put it; /etc/systemd/system or /etc/cron.d.",
        ),
    ] = None,
    user: Annotated[str, typer.Option(metavar="NAME", help="Whom it runs as.")] = "root",
    gpu: Annotated[bool, typer.Option("--gpu", help="Drills use a GPU of this host.")] = False,
    finish_within: Annotated[
        str, typer.Option(help="How long runs may go on when the service is stopped.")
    ] = "60s",
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> None:
    """Write a hardened systemd unit, or a crontab, that keeps the scheduler running.

    Where the policy asks for filesystem snapshots, backups get a unit of their own, which may take
    them; the scheduler may not.

    Credentials that the policy names are loaded from /etc/llmvault/credentials/NAME, and variables
    with secrets, such as LLMVAULT_DATABASE, from /etc/llmvault/environment. Nothing is started.
    """
    from llmvault.schedule.install import CRON, SYSTEMD, InstallRequest
    from llmvault.schedule.install import install as write

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    place = directory or (CRON if crontab else SYSTEMD)
    request = InstallRequest(crontab, place.absolute(), user, gpu, _duration(finish_within))
    files = [str(file) for file in write(vault, request)]
    following = "" if crontab else "systemctl daemon-reload && systemctl enable --now llmvault"
    output.emit_json({"file": files[0], "files": files, "next_step": following})
    output.show(*(f"written: {file}" for file in files))
    output.show(*([f"next: {following}"] if following else []))


@app.command(hidden=True)
def ask(
    place: Annotated[
        Path, typer.Argument(metavar="SOCKET", help="Where backups with snapshots are taken.")
    ],
    command: Annotated[list[str], typer.Argument(metavar="WORD…", help="backup, and plans.")],
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Have a backup taken by the unit that may take snapshots; the scheduler itself uses this."""
    from llmvault.schedule.handover import ask as hand_over

    settings, output = build_app(policies=policies, state=state).settings, Output(json=json)
    places = ("--policies", str(settings.policies), "--state", str(settings.state))
    code, lines = 0, []
    for told in hand_over(place, (*command, *places)):
        if isinstance(told, int):
            code = told
            continue
        lines.append(told)
        if not json:
            output.write(f"{told}\n")
    output.emit_json({"exit_code": code, "output": lines})
    return code


@app.command(hidden=True)
def work(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> int:
    """Take the backup that is asked for on standard input, a socket; systemd starts this."""
    import socket

    from llmvault.schedule.handover import work as carry_out

    vault = build_app(policies=policies, state=state)
    with socket.socket(fileno=0) as connection:
        code = carry_out(connection, vault.runner, vault.settings.state)
    Output(json=json).emit_json({"exit_code": code})
    return code


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    last = job["last"]
    return (
        job["job"],
        job["kind"],
        "one of its group" if job["owner"].startswith(FLEET) else job["owner"],
        job["next"] or "never",
        last["started"] if last else "never",
        last["outcome"] if last else "-",
        job["overdue_since"] or "-",
    )


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise PolicyError(text, str(error), "write for example 60s") from error
