"""What our own worker processes share: one line of JSON per message, and everything else logged.

A worker reports to its parent on standard output and takes questions on standard input. Libraries
print on both standard streams as they like, so the worker moves those to its log first.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from llmvault.core.process import Command

Message = Mapping[str, object]


def worker_command(module: str, *arguments: str, environment: Mapping[str, str]) -> Command:
    """Return the command that runs a worker module with this interpreter.

    ``-P`` keeps files of the current directory from being imported in place of libraries.
    """
    return Command((sys.executable, "-P", "-m", module, *arguments), environment)


def take_over_outputs(log: Path | None) -> IO[str]:
    """Return the line to the parent; from now on all other output goes to the log.

    Without a log, standard output goes where standard error goes.
    """
    parent = os.fdopen(os.dup(1), "w", encoding="utf-8")
    if log is not None:
        target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(target, 2)
        os.close(target)
    os.dup2(2, 1)
    faulthandler.enable()
    return parent


def tell(parent: IO[str], message: Message) -> None:
    """Send one message."""
    parent.write(json.dumps(message) + "\n")
    parent.flush()


def serve(parent: IO[str], answer: Callable[[Message], Message]) -> None:
    """Answer questions until standard input ends.

    An error in an answer is told, and the next question is taken; only what ends the process ends
    the service.
    """
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001  whatever a model raises is its answer
            reply = {"error": f"{type(error).__name__}: {error}"}
        tell(parent, reply)


def wait_for_parent() -> None:
    """Return when the parent closes standard input or is gone."""
    while sys.stdin.buffer.read(1 << 16):
        continue
