"""Commands that end in every way a command can end."""

from __future__ import annotations

import typer

from llmvault.cli.options import JsonOption, new_app
from llmvault.cli.output import Output
from llmvault.core.errors import RefusedError

app = new_app("End in some way.")


@app.command()
def well(json: JsonOption = False) -> None:
    """Return nothing."""
    Output(json=json).emit_json({"text": "a\udcffb"})
    Output(json=json).show("a [red]name[/red] with \x1b[31m and \udcff")


@app.command()
def code(json: JsonOption = False) -> int:
    """Return an exit code."""
    Output(json=json).show_table("title", ["name", "verdict"], [("a\nb" * 60, "failed")])
    return 3


@app.command()
def leave() -> None:
    """Leave early."""
    raise typer.Exit(4)


@app.command()
def refuse(json: JsonOption = False) -> None:
    """Raise an error of llmvault."""
    raise RefusedError("snapshot 1a2b", "it is held by case-7", "ask who placed the hold")


@app.command()
def interrupt(json: JsonOption = False) -> None:
    """Be interrupted."""
    raise KeyboardInterrupt


@app.command()
def crash(json: JsonOption = False) -> None:
    """Have a bug."""
    raise ZeroDivisionError("secret detail")


@app.command()
def pipe() -> None:
    """Write to a program that ended; the reader of our own output is still there."""
    raise BrokenPipeError
