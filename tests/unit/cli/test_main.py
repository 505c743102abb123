"""Exit codes, errors and the registry of commands."""

from __future__ import annotations

import importlib
import json

import pytest
import typer

from llmvault.cli import main

ODD = main.CommandEntry("odd", "tests.fakes.odd_commands", "End in some way.")


@pytest.fixture(autouse=True)
def _odd_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "COMMANDS", (*main.COMMANDS, ODD))


@pytest.mark.parametrize("entry", main.COMMANDS, ids=lambda entry: entry.name)
def test_every_command_can_be_imported(entry: main.CommandEntry) -> None:
    assert isinstance(importlib.import_module(entry.module).app, typer.Typer)
    assert len(entry.help) <= 60


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("well", 0, ""),
        ("code", 3, ""),
        ("leave", 4, ""),
        (
            "refuse",
            4,
            "error: snapshot 1a2b: it is held by case-7\n  next: ask who placed the hold",
        ),
        ("interrupt", 130, "error: llmvault: interrupted"),
        ("crash", 3, "error: llmvault: an error in llmvault itself (ZeroDivisionError)"),
        ("pipe", 3, "(BrokenPipeError)"),
        ("crush", 2, "No such command 'crush'. Did you mean 'crash'?"),
        ("well --what", 2, "No such option: --what"),
        ("", 2, "next: llmvault odd --help tells what it takes"),
    ],
)
def test_how_a_command_ends(
    command: str, code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["odd", *command.split()]) == code
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "code", "cause"),
    [
        ("odd refuse", 4, "it is held by case-7"),
        ("odd interrupt", 130, "interrupted; what was started has been stopped"),
        ("odd crash", 3, "an error in llmvault itself (ZeroDivisionError); nothing is proven by"),
        ("ood", 2, "No such command 'ood'. Did you mean 'odd'?"),
        ("odd well --what", 2, "No such option: --what"),
    ],
)
def test_in_json_mode_an_error_is_one_document(
    command: str, code: int, cause: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*command.split(), "--json"]) == code
    document = json.loads(capfd.readouterr().out)
    assert document["error"]["exit_code"] == code
    assert document["error"]["cause"].startswith(cause)
    assert set(document["error"]) == {"thing", "cause", "next_step", "exit_code"}


def test_a_crash_shows_where_it_happened_on_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    main.run(["odd", "crash", "--json"])
    assert 'odd_commands.py", line' in capfd.readouterr().err


def test_output_drives_no_terminal_and_any_name_can_be_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from llmvault.cli.output import printable

    assert printable("a\x1b[31m\x7f\x9b\tb\n") == "a\\x1b[31m\\x7f\\x9b\tb\n"
    assert main.run(["odd", "well", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"text": "a\udcffb"}


def test_off_a_terminal_a_row_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    main.run(["odd", "code"])
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0][:1] for line in lines] == ["t", "n", "─", "a"]
    assert lines[-1].split() == ["a\\nb" * 60, "failed"]


def test_without_a_command_help_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 0
    shown = capfd.readouterr().out
    for entry in main.COMMANDS:
        assert f"  {entry.name} " in shown
        assert entry.help in shown
