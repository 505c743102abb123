"""Every check that the program makes has words for people."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import llmvault
from llmvault.drill.check_words import KNOWN, check_words

SOURCE = Path(llmvault.__file__).parent


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield the literal names of the checks that a module makes, without what follows a colon."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Check"), args=[name, *_]):
                match name:
                    case ast.Constant(value=str(text)):
                        yield text.partition(":")[0]
                    case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
                        yield text.partition(":")[0]


def test_every_check_made_in_the_source_has_words() -> None:
    made = {name for path in SOURCE.rglob("*.py") for name in names_in(ast.parse(path.read_text()))}
    assert {"digests", "golden", "engine"} <= made
    assert made - KNOWN.keys() == set()


def test_a_parameter_stays_in_the_title() -> None:
    words = check_words("golden:greetings")
    assert words.title == "answers to recorded questions (greetings)"
    assert words.failure == "the restored deployment does not answer as it did"


def test_a_name_without_words_is_told_as_it_is() -> None:
    words = check_words("tape-labels@3")
    assert words.title == "tape labels@3"
    assert words.failure == "the check tape-labels@3 failed"
    assert words.meaning == ""
