"""Repositories as places that keep the ledger's checkpoints: what each of them holds pins it.

Every whole copy names its checkpoint's size and root in its tags, so one listing tells the ledger's
whole history there; the signed checkpoint is read of the newest alone. Whoever rewrites the ledger
on this host and copies it again leaves the older copies behind, and is found by them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.ledger.checkpoint import parse_checkpoint
from llmvault.ledger.files import CHECKPOINT
from llmvault.ledger.model import Checkpoint, Head
from llmvault.ledger.verify import Pin
from llmvault.recovery.found import Holdings, size_of
from llmvault.recovery.model import LONG_PATIENCE, PATIENCE, ROOT_TAG, TAG
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository

NAME = "pinned"


def repository_pins(
    repositories: Mapping[str, Callable[[], Repository]], origin: str, hosts: Collection[str]
) -> tuple[tuple[Pin, ...], tuple[Check, ...]]:
    """Return what each repository has pinned of a ledger, and a check for each that told nothing.

    Args:
        hosts: whose recovery points may carry the ledger; of all hosts when empty.
    """

    def ask(name: str) -> Pin | Check:
        try:
            found = _pin_of(repositories[name](), origin, hosts)
        except UnavailableError as error:
            return Check(NAME, place_of(name), Verdict.UNPROVEN, error.diagnostics())
        except VaultError as error:
            broken = isinstance(error, IntegrityError)
            verdict = Verdict.FAILED if broken else Verdict.UNPROVEN
            return Check(NAME, place_of(name), verdict, error.diagnostics())
        if found is None:
            detail = "it holds no checkpoint of this ledger; run: llmvault ledger copy"
            return Check(NAME, place_of(name), Verdict.UNPROVEN, detail)
        return Pin(place_of(name), found[0], found[1])

    with ThreadPoolExecutor(max(1, len(repositories))) as pool:
        told = list(pool.map(ask, repositories))
    pins = tuple(one for one in told if isinstance(one, Pin))
    return pins, tuple(one for one in told if isinstance(one, Check))


def not_asked(names: Iterable[str], why: str) -> tuple[Check, ...]:
    """Return a check for each repository that nobody looked into."""
    return tuple(Check(NAME, place_of(name), Verdict.UNPROVEN, why) for name in names)


def place_of(repository: str) -> str:
    """Return how checks name a repository."""
    return f"repository:{repository}"


def _pin_of(
    repository: Repository, origin: str, hosts: Collection[str]
) -> tuple[Checkpoint, tuple[Head, ...]] | None:
    snapshots = repository.with_patience(PATIENCE).snapshots()
    reached = repository.with_patience(LONG_PATIENCE)
    holdings = Holdings(reached, "", snapshots)
    newest = holdings.copies().get(origin)
    kept = [] if newest is None else [_checkpoint_in(reached, newest)]
    if holdings.manifests_since(newest):
        wanted = {*hosts, newest.host} if hosts and newest else hosts
        tail = holdings.tails(wanted).get(origin)
        kept += [parse_checkpoint(tail.note)] if tail else []
    if not kept:
        return None
    kept.sort(key=lambda one: one.head.size)
    newest_head = kept[-1].head
    others = (*(one.head for one in kept[:-1]), *heads_told(holdings.snapshots, origin))
    return kept[-1], tuple(one for one in dict.fromkeys(others) if one != newest_head)


def _checkpoint_in(repository: Repository, copy: Snapshot) -> Checkpoint:
    """Return the checkpoint of a whole copy.

    Raises:
        IntegrityError: when it is none.
        UnavailableError: when it cannot be read.
    """
    with repository.read_file(copy.id, f"/ledger/{CHECKPOINT}") as chunks:
        data = b"".join(chunks)
    try:
        return parse_checkpoint(data.decode())
    except UnicodeDecodeError as error:
        raise IntegrityError(f"the copy {copy.id[:8]}", "its checkpoint is no text") from error


def heads_told(snapshots: Iterable[Snapshot], origin: str) -> tuple[Head, ...]:
    """Return the heads that the tags of a ledger's copies tell; copies before these tags tell none.

    A tag that is no root becomes a head that fits nothing.
    """
    told = {(size_of(one), one.tag(ROOT_TAG)) for one in snapshots if one.tag(TAG) == origin}
    return tuple(Head(origin, size, _root(text)) for size, text in sorted(told) if text)


def _root(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
