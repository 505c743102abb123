"""Recognising and hiding secrets."""

from __future__ import annotations

import pytest

from llmvault.policy.secrecy import hidden_arguments, hide, names_secret, shows_secret


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:pw@host/db", "postgresql://u:***@host/db"),
        ("s3:https://key:secret@s3.example.org/b", "s3:https://key:***@s3.example.org/b"),
        ("rest:https://u:p@host:8000/", "rest:https://u:***@host:8000/"),
        (
            "postgresql://u@h/db?sslmode=on&password=pw",
            "postgresql://u@h/db?sslmode=on&password=***",
        ),
        ("Bearer hf_abcdefghijklmnopqrstuvwxyz", "Bearer ***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
    ],
)
def test_known_forms_are_hidden(text: str, shown: str) -> None:
    assert hide(text) == shown
    assert shows_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u@host/db",
        "sftp:user@host:/srv/repository",
        "http://127.0.0.1:8000/path@x",
        "/srv/repository",
        "file:/run/secrets/password",
        "8dbc27f2903f5ec64364812a10cdfd827a695440",
        "What does a token cost? sk-8",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert hide(text) == text


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("HF_TOKEN", True),
        ("OPENAI_API_KEY", True),
        ("--api-key", True),
        ("password", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("MAX_TOKENS", False),
        ("HF_TOKEN_PATH", False),
        ("--api-key-file", False),
        ("KEYBOARD", False),
    ],
)
def test_names(name: str, secret: bool) -> None:
    assert names_secret(name) is secret


def test_arguments_of_telling_options_are_hidden() -> None:
    argv = ("vllm", "--api-key", "abc", "--port", "1", "--token=xyz", "--api-key-file", "f", "-v")
    assert tuple(hidden_arguments(argv)) == (
        *("vllm", "--api-key", "***", "--port", "1", "--token=***", "--api-key-file", "f", "-v"),
    )
