"""Command lines in the documents exist: commands, options, and help for each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.core import TyperGroup

from llmvault.cli.main import COMMANDS, _load, _program

if TYPE_CHECKING:
    from typer._click.core import Command

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for place in ("README.md", "CHANGELOG.md", "runbooks", "docs", "examples", "policies")
    for path in sorted((ROOT / place).rglob("*") if (ROOT / place).is_dir() else [ROOT / place])
    if path.suffix in (".md", ".yaml") and path.exists()
]
_SPAN = re.compile(r"`(llmvault [^`]+)`")
_LINE = re.compile(r"(?:^|[;&|(]|\$ )\s*(llmvault [^;&|)#\n]+)")


def command_lines(text: str) -> Iterator[str]:
    """Yield the llmvault command lines in a document: in shell blocks and in code spans."""
    fenced = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in fenced:
        for line in block.replace("\\\n", " ").splitlines():
            yield from _LINE.findall(line)
    yield from _SPAN.findall(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


FOUND = sorted(
    {
        (str(path.relative_to(ROOT)), line.strip())
        for path in DOCUMENTS
        for line in command_lines(path.read_text(encoding="utf-8"))
    }
)


def problems(line: str) -> list[str]:
    """Return what is wrong with a command line: unknown commands or options."""
    words = shlex.split(line)[1:]
    command: Command = _program()
    for depth in (0, 1, 2):
        if isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
            name = words.pop(0)
            if name not in command.commands:
                return [f"no command {name}"]
            command = _load(name) if depth == 0 else command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    given = [word.partition("=")[0] for word in words if word.startswith("-")]
    return [f"no option {option}" for option in given if option not in {*known, "--help", "-h"}]


def test_the_documents_show_commands() -> None:
    assert {"README.md"} <= {path for path, _ in FOUND}
    assert len(FOUND) > 10


@pytest.mark.parametrize(("path", "line"), FOUND, ids=lambda value: value.replace(" ", "-"))
def test_every_command_line_in_a_document_exists(path: str, line: str) -> None:
    assert problems(line.rstrip(".,:")) == [], f"{path} says: {line}"


def test_wrong_lines_are_noticed() -> None:
    assert problems("llmvault bakcup") == ["no command bakcup"]
    assert problems("llmvault backup --fast") == ["no option --fast"]
    assert problems("llmvault policy shwo") == ["no command shwo"]
    assert problems("llmvault policy show --json plans.nightly") == []
    assert problems("llmvault restore latest --target x --into a=b") == []


def every_command() -> Iterator[tuple[str, Command]]:
    """Yield every command of the program, and every command below one."""
    for entry in COMMANDS:
        yield from _below(entry.name, _load(entry.name))


def _below(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    for one, found in command.commands.items():
        yield from _below(f"{name} {one}", found)


@pytest.mark.parametrize(("name", "command"), list(every_command()), ids=str)
def test_every_command_and_option_has_help(name: str, command: Command) -> None:
    assert command.help, name
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


@pytest.mark.parametrize(("name", "command"), list(every_command()), ids=str)
def test_every_command_takes_the_common_options(name: str, command: Command) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    expected = {"--json"} if name == "version" else {"--json", "--policies", "--state"}
    assert expected <= options
