"""Witnesses: places outside that keep checkpoints, so that rewriting the ledger is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmvault.core.errors import UnavailableError, VaultError
from llmvault.core.files import write_durably
from llmvault.core.process import Command, Runner
from llmvault.core.verdict import Check, Verdict
from llmvault.ledger.checkpoint import parse_checkpoint
from llmvault.ledger.model import Checkpoint
from llmvault.ledger.verify import Pin

if TYPE_CHECKING:
    from llmvault.policy.ledger import CommandWitness as CommandPolicy
    from llmvault.policy.ledger import LedgerPolicy

_SUFFIX = ".checkpoint"


class Witness(Protocol):
    """A place that keeps checkpoints."""

    def publish(self, checkpoint: Checkpoint) -> None:
        """Hand over a checkpoint.

        Raises:
            UnavailableError: when it was not taken.
        """

    def newest(self, origin: str) -> Checkpoint | None:
        """Return the newest checkpoint of a ledger that was handed over; None when there is none.

        Raises:
            UnavailableError: when the place cannot be asked.
            IntegrityError: when it answers with something else.
        """


@dataclass(frozen=True, slots=True)
class DirectoryWitness:
    """Keeps a file for each checkpoint: ``ORIGIN/SIZE.checkpoint``; none is ever replaced."""

    directory: Path

    def publish(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint unless it is there."""
        path = self._folder(checkpoint.head.origin) / f"{checkpoint.head.size:012}{_SUFFIX}"
        try:
            if not path.exists():
                write_durably(path, checkpoint.note.encode(), mode=0o644)
        except OSError as error:
            cause = error.strerror or str(error)
            raise UnavailableError(f"witness {self.directory}", cause, "is it mounted?") from error

    def newest(self, origin: str) -> Checkpoint | None:
        """Return the checkpoint of the greatest size."""
        try:
            if not self.directory.is_dir():
                raise UnavailableError(f"witness {self.directory}", "is no directory", "mount it")
            found = max(self._folder(origin).glob(f"*{_SUFFIX}"), default=None)
            return parse_checkpoint(found.read_text()) if found else None
        except OSError as error:
            cause = error.strerror or str(error)
            raise UnavailableError(f"witness {self.directory}", cause) from error

    def _folder(self, origin: str) -> Path:
        return self.directory / origin.replace("/", "_")


@dataclass(frozen=True, slots=True)
class CommandWitness:
    """Carries checkpoints by commands of the operator."""

    config: CommandPolicy
    runner: Runner

    def publish(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint to the command's standard input."""
        self._run(self.config.publish, checkpoint.note.encode())

    def newest(self, origin: str) -> Checkpoint | None:
        """Return what the command prints; nothing means that there is none."""
        printed = self._run(self.config.fetch, None)
        return parse_checkpoint(printed) if printed.strip() else None

    def _run(self, argv: tuple[str, ...], stdin: bytes | None) -> str:
        timeout = self.config.timeout.total_seconds()
        done = self.runner.run(Command(argv), stdin=stdin, timeout=timeout)
        if done.exit_code != 0:
            last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
            raise UnavailableError(f"witness {argv[0]}", f"exit code {done.exit_code}: {last}")
        return done.stdout


def build_witnesses(policy: LedgerPolicy, runner: Runner) -> dict[str, Witness]:
    """Return the witnesses that a policy declares."""
    return {
        name: DirectoryWitness(one.path) if one.kind == "directory" else CommandWitness(one, runner)
        for name, one in policy.witnesses.items()
    }


def publish(witnesses: Mapping[str, Witness], checkpoint: Checkpoint) -> tuple[Check, ...]:
    """Hand a checkpoint to every witness; return a check ``witness`` for each."""
    checks = []
    for name, witness in witnesses.items():
        try:
            witness.publish(checkpoint)
        except VaultError as error:
            checks.append(Check("witness", name, Verdict.UNPROVEN, error.diagnostics()))
        else:
            detail = f"it has the checkpoint of {checkpoint.head.size} entries"
            checks.append(Check("witness", name, Verdict.PROVEN, detail))
    return tuple(checks)


def pins_of(
    witnesses: Mapping[str, Witness], origin: str
) -> tuple[tuple[Pin, ...], tuple[Check, ...]]:
    """Return the newest checkpoint of each witness, and a check for each that gave none."""
    pins: list[Pin] = []
    checks: list[Check] = []
    for name, witness in witnesses.items():
        try:
            found = witness.newest(origin)
        except VaultError as error:
            verdict = Verdict.UNPROVEN if isinstance(error, UnavailableError) else Verdict.FAILED
            checks.append(Check("witness", name, verdict, error.diagnostics()))
            continue
        if found is None:
            detail = "it was given no checkpoint yet; run: llmvault ledger checkpoint"
            checks.append(Check("witness", name, Verdict.UNPROVEN, detail))
        else:
            pins.append(Pin(name, found))
    return tuple(pins), tuple(checks)


def read_pins(paths: Sequence[Path]) -> tuple[Pin, ...]:
    """Return checkpoints that were kept in files.

    Raises:
        UnavailableError: when a file cannot be read.
        IntegrityError: when it holds no checkpoint.
    """
    pins = []
    for path in paths:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"checkpoint {path}", str(error)) from error
        pins.append(Pin(str(path), parse_checkpoint(text)))
    return tuple(pins)
