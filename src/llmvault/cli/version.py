"""``llmvault version``."""

from __future__ import annotations

from llmvault import __version__
from llmvault.cli.options import JsonOption, new_app
from llmvault.cli.output import Output

app = new_app("Print the version.")


@app.command()
def version(json: JsonOption = False) -> int:
    """Print the version."""
    output = Output(json=json)
    output.emit_json({"version": __version__})
    output.show(f"llmvault {__version__}")
    return 0
