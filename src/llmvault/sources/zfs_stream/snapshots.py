"""The snapshots of one source and plan that are ours: made, held, kept for the next, destroyed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import VaultError
from llmvault.core.process import Runner
from llmvault.sources.zfs_stream.commands import attempt, failure, says_absent, succeed
from llmvault.sources.zfs_stream.datasets import guid_of
from llmvault.sources.zfs_stream.journal import (
    HOLD,
    Journal,
    Kept,
    read_journal,
    refuse_foreign,
    write_journal,
)


@dataclass(frozen=True, slots=True)
class OwnSnapshots:
    """What is known of them.

    Attributes:
        path: of the journal; None where nothing is remembered, so that nothing stays either.
    """

    runner: Runner
    path: Path | None

    def kept(self) -> Kept | None:
        """Return the one that the next increment begins at.

        Raises:
            UnavailableError: when the journal cannot be read.
        """
        return self._journal().kept

    def take(self, handle: str, *, recursive: bool) -> None:
        """Write a snapshot down, make it and hold it.

        Raises:
            UnavailableError: when it cannot be made; :meth:`discard` it then.
        """
        self._write(self._journal().intending(handle))
        below = ("-r",) if recursive else ()
        thing = f"snapshot {handle}"
        succeed(self.runner, thing, "zfs", "snapshot", *below, handle)
        succeed(self.runner, thing, "zfs", "hold", *below, HOLD, handle)

    def keep(self, kept: Kept) -> None:
        """Keep a snapshot of this run from now on, and destroy all others of ours.

        Raises:
            VaultError: when one of the others could not be destroyed.
        """
        journal = self._journal()
        others = tuple(one for one in journal.pending if one != kept.handle)
        old = (journal.kept.handle,) if journal.kept else ()
        # written down first: it is the base from here on, whatever becomes of the old one
        self._write(Journal(kept, (*old, *others)))
        self.sweep()

    def sweep(self) -> tuple[str, ...]:
        """Destroy what is not kept, and return what that was.

        Raises:
            VaultError: when one could not be destroyed; the next run tries again.
        """
        trouble: VaultError | None = None
        gone = []
        for handle in self._journal().pending:
            try:
                self._destroy(handle)
            except VaultError as error:
                trouble = trouble or error
                continue
            self._write(self._journal().without((handle,)))
            gone.append(handle)
        if trouble:
            raise trouble
        return tuple(gone)

    def discard(self, handle: str) -> None:
        """Destroy the snapshot of a run that came to nothing; what fails is left to the next."""
        try:
            self._destroy(handle)
            self._write(self._journal().without((handle,)))
        except VaultError:
            return

    def _destroy(self, handle: str) -> None:
        """Release and destroy a snapshot of ours, with those of its name below it."""
        refuse_foreign(handle)
        for argv in (("zfs", "release", "-r", HOLD, handle), ("zfs", "destroy", "-r", handle)):
            done = attempt(self.runner, *argv)
            if done.exit_code != 0 and not says_absent(done.stderr):
                raise failure(f"snapshot {handle}", argv, done.exit_code, done.stderr.splitlines())

    def is_there(self, kept: Kept) -> bool:
        """Whether a kept snapshot is the one that was kept."""
        return guid_of(self.runner, kept.handle) == kept.guid

    def _journal(self) -> Journal:
        return Journal() if self.path is None else read_journal(self.path)

    def _write(self, journal: Journal) -> None:
        if self.path is not None:
            write_journal(self.path, journal)
