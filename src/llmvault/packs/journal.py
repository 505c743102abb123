"""Which files of a repository are there for a while only, so that a killed run's go too."""

from __future__ import annotations

import os
from pathlib import Path

from llmvault.core.files import write_durably


def announce(journal: Path, file: Path) -> None:
    """Note a file that is about to be written; its name is its digest, so no two are the same."""
    write_durably(journal / file.name, os.fsencode(file))


def remove(journal: Path, file: Path) -> None:
    """Remove a file that served its purpose."""
    file.unlink(missing_ok=True)
    (journal / file.name).unlink(missing_ok=True)


def sweep(journal: Path) -> None:
    """Remove what a killed run left; the caller holds the plan's lock.

    What is in a repository that is not there now keeps its mark, for later.
    """
    if not journal.is_dir():
        return
    for mark in journal.iterdir():
        file = Path(os.fsdecode(mark.read_bytes()))
        if file.parent.is_dir():
            remove(journal, file)
