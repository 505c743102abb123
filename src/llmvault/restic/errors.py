"""Restic's exit codes as llmvault's errors. Pure.

Codes of restic's documentation: 1 fatal, 2 Go runtime, 3 incomplete, 10 no repository, 11 locked,
12 wrong password, 130 interrupted. An unknown code is a failure, never a success.
"""

from __future__ import annotations

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.restic.output import ErrorMessage

NO_REPOSITORY = 10
LOCKED = 11
WRONG_PASSWORD = 12
INCOMPLETE = 3

MISSING = "there is no repository"


def error_for(repository: str, exit_code: int, errors: tuple[ErrorMessage, ...]) -> VaultError:
    """Return the error that a failed restic call on a repository stands for."""
    thing = f'repository "{repository}"'
    said = _last_words(errors)
    if exit_code == NO_REPOSITORY:
        return UnavailableError(thing, f"{MISSING}: {said}", "create it: llmvault init")
    if exit_code == LOCKED:
        return UnavailableError(
            thing, "another process holds a lock on it", "wait for it, or see: restic list locks"
        )
    if exit_code == WRONG_PASSWORD:
        return UnavailableError(
            thing, "the password does not open it", "check the policy's password reference"
        )
    if _is_damage(said):
        return IntegrityError(
            thing, f"its data is damaged: {said}", "run: restic check --read-data"
        )
    if disk_is_full(said):
        return UnavailableError(thing, f"the disk is full: {said}", "free space and run again")
    return UnavailableError(
        thing, f"restic exited {exit_code}: {said}", "see the message; then retry"
    )


def snapshot_is_gone(error: VaultError) -> bool:
    """Whether a call failed because a snapshot that it named cannot be read."""
    return "failed to load snapshot" in error.cause or "no matching ID found" in error.cause


def file_is_absent(error: VaultError) -> bool:
    """Whether a call failed because a snapshot does not hold the file that was asked for."""
    return "not found in snapshot" in error.cause


def disk_is_full(text: str) -> bool:
    """Whether restic's words are those of a disk or quota that is full."""
    return "no space left on device" in text or "disk quota exceeded" in text


def _is_damage(text: str) -> bool:
    marks = (
        "ciphertext verification failed",
        "hash does not match",
        "invalid data returned",
        "not restor",
    )
    return any(mark in text for mark in marks)


def _last_words(errors: tuple[ErrorMessage, ...]) -> str:
    if not errors:
        return "it said nothing"
    words = [
        error.message if not error.item else f"{error.item}: {error.message}" for error in errors
    ]
    return "; ".join(" ".join(word.split()) for word in words[-3:])
