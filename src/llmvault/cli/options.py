"""Options that commands share, so that they are spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_app(help_text: str) -> typer.Typer:
    """Return the Typer app of one noun; a noun with a single command is that command."""
    return typer.Typer(help=help_text, add_completion=False, rich_markup_mode=None)


JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on standard output, nothing else there."),
]
PoliciesOption = Annotated[
    Path | None,
    typer.Option(
        "--policies",
        metavar="DIR",
        show_default=False,
        help="Directory of the policy files (LLMVAULT_POLICIES; by default ./policies).",
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        show_default=False,
        help="Directory of catalog, manifests and reports (LLMVAULT_STATE).",
    ),
]
