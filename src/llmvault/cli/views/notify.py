"""What was sent to whom, and digests, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmvault.cli.output import Output
from llmvault.schedule.digest import Digest
from llmvault.schedule.digest_text import text_of
from llmvault.schedule.post import Sent


def show_sent(output: Output, what: str, sent: Sequence[Sent]) -> int:
    """Show what came of messages; return the exit code."""
    output.emit_json({what: [one.as_json() for one in sent]})
    _table(output, sent)
    return _exit_code(sent)


def show_digest(output: Output, made: Digest, sent: Sequence[Sent], page: Path | None) -> int:
    """Show a digest and what came of sending it; return the exit code."""
    output.emit_json(
        {
            "digest": made.as_json(),
            "page": str(page.absolute()) if page else None,
            "sent": [one.as_json() for one in sent],
        }
    )
    if page is None and not sent:
        output.show(text_of(made).rstrip("\n"))
    if page is not None:
        output.show(f"written: {page.absolute()}")
    if sent:
        _table(output, sent)
    return _exit_code(sent)


def _table(output: Output, sent: Sequence[Sent]) -> None:
    rows = [(one.target, one.kind, one.state, one.cause or "-") for one in sent]
    output.show_table("Told", ("target", "kind", "", "why not"), rows)


def _exit_code(sent: Sequence[Sent]) -> int:
    return 5 if any(one.cause for one in sent) else 0
