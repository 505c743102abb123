"""Secrets by reference: ``env:NAME``, ``file:PATH``, ``cmd:COMMAND LINE``, ``credential:NAME``.

A :class:`Secret` never shows its value in ``repr``, ``str`` or an error message.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.process import Command, Runner

SCHEMES = ("env", "file", "cmd", "credential")
_COMMAND_TIMEOUT_SECONDS = 60.0


class Secret:
    """A value that must not be printed; read it with :meth:`reveal` at the place of use only."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is found; holds no secret itself, so it may be shown.

    Attributes:
        scheme: one of ``env``, ``file``, ``cmd``, ``credential`` (systemd's credentials directory).
        locator: variable name, absolute path, command line, or credential name.
    """

    scheme: str
    locator: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.locator}"


def parse_secret_ref(text: str) -> SecretRef:
    """Return the reference that a text such as ``file:/run/secrets/restic`` names.

    Raises:
        ValueError: when it names no scheme; the text is not repeated, it may be the secret.
    """
    scheme, colon, locator = text.partition(":")
    if not colon or scheme not in SCHEMES or not locator:
        raise ValueError(
            "give a secret by reference: env:NAME, file:PATH, cmd:COMMAND or credential:NAME"
        )
    return SecretRef(scheme, locator)


@dataclass(frozen=True, slots=True)
class SecretResolver:
    """Turns references into secrets.

    Attributes:
        environment: the process environment, given by settings.
        runner: runs ``cmd:`` references.
    """

    environment: Mapping[str, str]
    runner: Runner

    def resolve(self, ref: SecretRef) -> Secret:
        """Return the secret, without its final line end.

        Raises:
            PolicyError: when a variable or credential is not set, a file is empty, or a command
                line cannot be split into words.
            UnavailableError: when the file cannot be read or the command fails.
        """
        if ref.scheme == "env":
            return self._from_environment(ref)
        if ref.scheme == "cmd":
            return self._from_command(ref)
        if ref.scheme == "credential":
            return self._from_file(ref, self._credentials_directory(ref) / ref.locator)
        return self._from_file(ref, Path(ref.locator))

    def _from_environment(self, ref: SecretRef) -> Secret:
        value = self.environment.get(ref.locator)
        if not value:
            raise PolicyError(
                f"secret {ref}", "the variable is not set or empty", f"export {ref.locator}"
            )
        return Secret(value)

    def _credentials_directory(self, ref: SecretRef) -> Path:
        directory = self.environment.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise PolicyError(
                f"secret {ref}",
                "this process was not given systemd credentials",
                "run it from a unit with LoadCredential=, or use another kind of reference",
            )
        return Path(directory)

    def _from_file(self, ref: SecretRef, path: Path) -> Secret:
        try:
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise UnavailableError(
                f"secret {ref}",
                f"the file cannot be read: {error.strerror}",
                "create it, or correct the policy's reference",
            ) from error
        except UnicodeDecodeError:
            # not chained: that error carries the bytes
            raise UnavailableError(
                f"secret {ref}", "the file is not UTF-8 text", "write the secret into it as text"
            ) from None
        if not value:
            raise PolicyError(f"secret {ref}", "the file is empty", "write the secret into it")
        return Secret(value)

    def _from_command(self, ref: SecretRef) -> Secret:
        done = self.runner.run(Command(_words(ref)), timeout=_COMMAND_TIMEOUT_SECONDS)
        value = done.stdout.rstrip("\r\n")
        if done.exit_code != 0 or not value:
            raise UnavailableError(
                f"secret {ref}",
                f"the command exited {done.exit_code} or printed nothing",
                "run it by hand",
            )
        return Secret(value)


def _words(ref: SecretRef) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(ref.locator))
    except ValueError as error:
        raise PolicyError(
            f"secret {ref}", f"no command line: {error}", "close the quote"
        ) from error
    if not words:
        raise PolicyError(f"secret {ref}", "it names no command", "write cmd:PROGRAM ARGUMENTS")
    return words
