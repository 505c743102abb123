"""Secrets by reference: every scheme, and the value shows nowhere."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from llmvault.core.errors import PolicyError, UnavailableError, VaultError
from llmvault.core.process import LocalRunner
from llmvault.core.secrets import SCHEMES, Secret, SecretRef, SecretResolver, parse_secret_ref

VALUE = "sesame open"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with secrets in files."""
    (tmp_path / "secret").write_text(f"{VALUE}\r\n")
    (tmp_path / "lines").write_text(f"{VALUE}\n second \n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"sesame \xff open")
    return tmp_path


@pytest.fixture
def resolver(place: Path) -> SecretResolver:
    environment = {
        "PATH": os.environ["PATH"],
        "PASSWORD": VALUE,
        "EMPTY": "",
        "CREDENTIALS_DIRECTORY": str(place),
    }
    return SecretResolver(environment, LocalRunner(environment))


def resolved(resolver: SecretResolver, text: str) -> str:
    return resolver.resolve(parse_secret_ref(text)).reveal()


def test_every_scheme_gives_the_value(resolver: SecretResolver, place: Path) -> None:
    references = {
        "env": "env:PASSWORD",
        "file": f"file:{place}/secret",
        "cmd": f"cmd:head -n 1 '{place}/secret'",
        "credential": "credential:secret",
    }
    assert references.keys() == {*SCHEMES}
    assert [resolved(resolver, text) for text in references.values()] == [VALUE] * 4


def test_only_the_last_line_end_is_cut(resolver: SecretResolver, place: Path) -> None:
    assert resolved(resolver, f"file:{place}/lines") == f"{VALUE}\n second "
    assert resolved(resolver, r"cmd:printf ' a \n\n'") == " a "


def test_a_command_is_run_without_a_shell(resolver: SecretResolver) -> None:
    assert resolved(resolver, "cmd:echo $PASSWORD ; id") == "$PASSWORD ; id"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("env:ABSENT", PolicyError),
        ("env:EMPTY", PolicyError),
        ("file:/absent", UnavailableError),
        ("file:/", UnavailableError),
        ("credential:absent", UnavailableError),
        ("credential:empty", PolicyError),
        ("credential:binary", UnavailableError),
        ("cmd:false", UnavailableError),
        ("cmd:true", UnavailableError),
        ("cmd:sh -c 'echo sesame open; exit 3'", UnavailableError),
        ("cmd:no-such-program", UnavailableError),
        ("cmd:echo 'open", PolicyError),
        ("cmd: ", PolicyError),
    ],
)
def test_what_cannot_be_had_is_named_without_the_value(
    resolver: SecretResolver, text: str, error: type[VaultError]
) -> None:
    with pytest.raises(error) as raised:
        resolver.resolve(parse_secret_ref(text))
    assert raised.value.thing in (f"secret {text}", "no-such-program")
    found: BaseException | None = raised.value
    while found is not None:
        assert "sesame" not in f"{found!r} {found}".replace(text, "")
        found = found.__cause__
    assert "sesame" not in raised.value.diagnostics().replace(text, "")


def test_without_credentials_the_next_step_is_told(place: Path) -> None:
    resolver = SecretResolver({}, LocalRunner({}))
    with pytest.raises(PolicyError, match="was not given systemd credentials") as raised:
        resolver.resolve(SecretRef("credential", "secret"))
    assert "LoadCredential=" in raised.value.next_step


@pytest.mark.parametrize("text", ["", VALUE, "env", "env:", "vault:x", "ENV:X", ":x", "/etc/key"])
def test_other_texts_are_no_reference_and_are_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="give a secret by reference") as raised:
        parse_secret_ref(text)
    assert VALUE not in str(raised.value)


@pytest.mark.parametrize("text", ["env:A", "file:/a:b", "cmd:pass show x", "credential:c"])
def test_a_reference_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_secret_ref(text)) == text


@dataclass(frozen=True)
class Holder:
    password: Secret


def test_a_secret_is_never_shown() -> None:
    secret = Secret(VALUE)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!s:>30}", repr({"a": [secret]})]
    shown += [repr(Holder(secret)), str(asdict(Holder(secret))), f"{[secret]}"]
    assert not [text for text in shown if "sesame" in text]
    assert secret.reveal() == VALUE


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a") != "a"
