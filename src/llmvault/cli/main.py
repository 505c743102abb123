"""The program: which commands there are, and which exit code an error becomes.

A command lives in ``cli/<noun>.py`` as a Typer app named ``app``; its module is imported only when
the command is called, so that ``llmvault --help`` stays fast. A command returns its exit code
(``None`` counts as 0) or raises; it never catches an error only to print it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from llmvault.cli.output import Output, forget_reader, reader_gone
from llmvault.core.errors import PolicyError, UnprovenError, VaultError

if TYPE_CHECKING:
    from typer._click.core import Command, Context

PROGRAM = "llmvault"
EXIT_READER_GONE = 141


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """One command of the program.

    Attributes:
        name: as typed, e.g. ``recovery-points``.
        module: imported when the command is called; has a Typer app named ``app``.
        help: one line for ``llmvault --help``.
    """

    name: str
    module: str
    help: str


COMMANDS = (
    CommandEntry("init", "llmvault.cli.init", "Create the repositories that the policy declares."),
    CommandEntry("doctor", "llmvault.cli.doctor", "Look at what backups and drills need."),
    CommandEntry("status", "llmvault.cli.status", "Show where every plan stands."),
    CommandEntry("policy", "llmvault.cli.policy", "Check the policy files; show what holds, why."),
    CommandEntry("backup", "llmvault.cli.backup", "Take recovery points."),
    CommandEntry(
        "recovery-points", "llmvault.cli.recovery_points", "List and show what can be brought back."
    ),
    CommandEntry("restore", "llmvault.cli.restore", "Bring a recovery point back, verified."),
    CommandEntry("drill", "llmvault.cli.drill", "Prove that a recovery point works."),
    CommandEntry("verify", "llmvault.cli.verify", "Read packs back, a part at a time."),
    CommandEntry("copies", "llmvault.cli.copies", "Make copies; tell whether they are 3-2-1-1-0."),
    CommandEntry("lock", "llmvault.cli.lock", "See how long backups are locked; make it longer."),
    CommandEntry("tamper", "llmvault.cli.tamper", "Try to destroy backups; want to be refused."),
    CommandEntry(
        "evidence", "llmvault.cli.evidence", "Make signed evidence for auditors; verify it."
    ),
    CommandEntry("ledger", "llmvault.cli.ledger", "Show what was done, and prove it."),
    CommandEntry("keys", "llmvault.cli.keys", "Look after the keys of this installation."),
    CommandEntry("retention", "llmvault.cli.retention", "Plan and apply what is deleted, and why."),
    CommandEntry("hold", "llmvault.cli.hold", "Place, release and list legal holds."),
    CommandEntry("approve", "llmvault.cli.approve", "Approve a plan by signing its digest."),
    CommandEntry(
        "schedule", "llmvault.cli.schedule", "Back up and drill by the clock; say what is late."
    ),
    CommandEntry("notify", "llmvault.cli.notify", "Try who is told; show and send digests."),
    CommandEntry("version", "llmvault.cli.version", "Print the version."),
)


class LazyGroup(TyperGroup):
    """Holds a stand-in with name and help for every command; imports the one that is called."""

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Return the real command that the first argument names."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name and stand_in else None, rest


def _program() -> TyperGroup:
    program = cast(TyperGroup, typer.main.get_command(root))
    for entry in COMMANDS:
        program.add_command(TyperCommand(entry.name, help=entry.help))
    return program


def _load(name: str) -> Command:
    entry = next(entry for entry in COMMANDS if entry.name == name)
    app: typer.Typer = importlib.import_module(entry.module).app
    return typer.main.get_command(app)


root = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@root.callback(help="Back up an LLM deployment, drill its recovery, and prove what came back.")
def _root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
) -> None:
    from llmvault.core import log

    log.configure(verbose=verbose)


class _InterruptedError(VaultError):
    exit_code = 130


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are printed, none escapes."""
    output = Output(json="--json" in arguments)
    try:
        code = _run(arguments, output)
        sys.stdout.flush()
    except BrokenPipeError:
        forget_reader()
        return EXIT_READER_GONE
    return code


def _run(arguments: Sequence[str], output: Output) -> int:
    try:
        return _execute(arguments)
    except VaultError as error:
        output.error(error)
        return error.exit_code
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_gone():
            raise
        output.note(traceback.format_exc().rstrip())
        output.error(crash := _crash(error))
        return crash.exit_code


def _execute(arguments: Sequence[str]) -> int:
    try:
        returned = _invoke(arguments or ["--help"])
    except typer.Exit as leave:
        return leave.exit_code
    except typer.TyperException as error:
        raise _wrong_usage(error) from error
    except (KeyboardInterrupt, typer.Abort) as error:
        raise _InterruptedError(
            PROGRAM, "interrupted; what was started has been stopped", "run it again: it resumes"
        ) from error
    return returned if isinstance(returned, int) else 0


def _invoke(arguments: Sequence[str]) -> object:
    command = _program()
    command._main_shell_completion({}, PROGRAM)
    with command.make_context(PROGRAM, list(arguments)) as context:
        return command.invoke(context)


def _wrong_usage(error: typer.TyperException) -> PolicyError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else PROGRAM
    return PolicyError(path, error.format_message(), f"{path} --help tells what it takes")


def _crash(error: Exception) -> UnprovenError:
    return UnprovenError(
        PROGRAM,
        f"an error in llmvault itself ({type(error).__name__}); nothing is proven by this run",
        "report it with the lines above; running it again is safe",
    )
