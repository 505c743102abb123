"""What each exit code of restic becomes."""

from __future__ import annotations

import pytest

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.restic.errors import (
    MISSING,
    disk_is_full,
    error_for,
    file_is_absent,
    snapshot_is_gone,
)
from llmvault.restic.output import ErrorMessage

FLIPPED = "decrypting blob <data/f4389824> from 0e544170 failed: ciphertext verification failed"


def error(code: int, *messages: str, item: str = "") -> VaultError:
    return error_for("primary", code, tuple(ErrorMessage(text, item) for text in messages))


@pytest.mark.parametrize(
    ("code", "messages", "kind", "words"),
    [
        (10, ("Fatal: repository does not exist",), UnavailableError, MISSING),
        (11, ("unable to create lock",), UnavailableError, "holds a lock"),
        (12, ("wrong password",), UnavailableError, "the password does not open it"),
        (1, (f"Fatal: cannot dump file: {FLIPPED}",), IntegrityError, "its data is damaged"),
        (1, ("hash does not match id",), IntegrityError, "its data is damaged"),
        (1, ("write x: no space left on device",), UnavailableError, "the disk is full"),
        (1, ("dial tcp: no route to host",), UnavailableError, "no route to host"),
        (2, ("panic: runtime error",), UnavailableError, "restic exited 2: panic"),
        (130, (), UnavailableError, "restic exited 130: it said nothing"),
        (-9, (), UnavailableError, "restic exited -9"),
        (77, ("something new",), UnavailableError, "restic exited 77: something new"),
        (0, (), UnavailableError, "restic exited 0: it said nothing"),
    ],
)
def test_every_exit_code_is_an_error(
    code: int, messages: tuple[str, ...], kind: type[VaultError], words: str
) -> None:
    found = error(code, *messages)
    assert type(found) is kind
    assert words in found.cause
    assert found.thing == 'repository "primary"'
    assert found.next_step


def test_no_code_is_a_success() -> None:
    assert {error(code).exit_code for code in range(-20, 256)} == {5}


def test_the_last_words_are_told_with_their_items_on_one_line() -> None:
    found = error(1, "one", "two", "three\n  lines", "four", item="/a")
    assert found.cause == "restic exited 1: /a: two; /a: three lines; /a: four"


def test_what_restic_says_is_recognised() -> None:
    gone = (
        "Fatal: failed to load snapshot 125984b6: open /r/snapshots/12: no such file or directory"
    )
    assert snapshot_is_gone(error(1, gone))
    assert snapshot_is_gone(error(1, 'no matching ID found for prefix "1234567890"'))
    assert not snapshot_is_gone(error(12, "wrong password"))
    assert file_is_absent(error(1, 'cannot dump file: path "/x" not found in snapshot'))
    assert not file_is_absent(error(1, gone))
    assert disk_is_full("write /mnt/x: no space left on device")
    assert disk_is_full("write /mnt/x: disk quota exceeded")
    assert not disk_is_full("permission denied")
