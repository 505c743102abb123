"""Looking at a repository's objects and their locks; asks for nothing that is known."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from llmvault.core.errors import VaultError
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import Lock, Objects
from llmvault.locks.plan import kept_objects, unknown
from llmvault.objectstore.errors import AbsentError
from llmvault.objectstore.s3 import CONNECTIONS, Bucket
from llmvault.restic.repo import Repository

_RESTICS = 2
_NEVER = Lock("", None, None)


def referenced_packs(repository: Repository, inventory: Inventory) -> frozenset[str]:
    """Return the packs that the repository's index names.

    An index may be replaced while it is read, by a prune elsewhere; then it is listed again.

    Raises:
        VaultError: when the repository cannot be read.
    """
    tries = 3
    for last in reversed(range(tries)):
        indexes = repository.index_ids()
        unread = [one for one in indexes if inventory.packs_of(one) is None]
        try:
            with ThreadPoolExecutor(_RESTICS) as pool:
                found = pool.map(repository.packs_of_index, unread)
                for index, packs in zip(unread, found, strict=True):
                    inventory.add_index(index, packs)
        except VaultError:
            if not last or set(repository.index_ids()) == set(indexes):
                raise
            continue
        return frozenset(p for index in indexes for p in inventory.packs_of(index) or ())
    raise AssertionError("the last try returns or raises")


def known_locks(
    repository: Repository, bucket: Bucket, inventory: Inventory
) -> tuple[Objects, dict[str, Lock]]:
    """Return what must be kept of a repository, and the lock of each, asked for where not known.

    Raises:
        VaultError: when repository or store cannot be looked at.
    """
    objects = list_objects(bucket, referenced_packs(repository, inventory))
    known = inventory.locks()
    asked = ask_locks(bucket, objects, unknown(objects, known))
    inventory.add(asked)
    now = {name: asked.get(name) or known[name] for name in objects.current}
    if len(known) > 2 * len(now):  # mostly of what has been pruned since
        inventory.replace(now)
    return objects, now


def list_objects(bucket: Bucket, packs: frozenset[str]) -> Objects:
    """Return what must be kept of the repository below the bucket's prefix."""
    where = bucket.location
    listed = bucket.versions(where.key(""))
    return kept_objects(((where.name(one.key), one) for one in listed), packs)


def ask_locks(bucket: Bucket, objects: Objects, names: Iterable[str]) -> dict[str, Lock]:
    """Return the locks of some objects, one HEAD request each."""

    def ask(name: str) -> tuple[str, Lock]:
        version = objects.current[name]
        try:
            head = bucket.head(bucket.location.key(name), version)
        except AbsentError:  # removed meanwhile
            return name, _NEVER
        lock = head.retention
        return name, Lock(version, lock.mode if lock else None, lock.until if lock else None)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return dict(pool.map(ask, names))
