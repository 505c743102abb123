"""Which objects must be kept, and whose locks are to be made longer. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from llmvault.locks.model import Extension, Lock, LockPlan, Objects, Terms
from llmvault.objectstore.model import LockMode, Version

_KEPT_BESIDE_PACKS = ("keys/", "snapshots/", "index/")


def kept_objects(listed: Iterable[tuple[str, Version]], packs: Collection[str]) -> Objects:
    """Return what must be kept of a repository.

    Args:
        listed: path in the repository, and version or delete marker; only current ones count.
        packs: ids of the packs that the repository's index names.
    """
    current: dict[str, str] = {}
    found: set[str] = set()
    unreferenced = 0
    for name, version in listed:
        if not version.latest or version.marker:
            continue
        if name.startswith("data/"):
            pack = name.rpartition("/")[2]
            if pack not in packs:
                unreferenced += 1
                continue
            found.add(pack)
        elif name != "config" and not name.startswith(_KEPT_BESIDE_PACKS):
            continue
        current[name] = version.id
    return Objects(current, tuple(sorted(set(packs) - found)), unreferenced)


def unknown(objects: Objects, inventory: Mapping[str, Lock]) -> tuple[str, ...]:
    """Return the objects whose lock must be asked for: new ones, and those with a new version."""
    return tuple(
        name
        for name, version in objects.current.items()
        if (known := inventory.get(name)) is None or known.version != version
    )


def plan_extension(
    objects: Objects, inventory: Mapping[str, Lock], terms: Terms, now: datetime
) -> LockPlan:
    """Return what to extend so that no lock lapses while its object is kept.

    `inventory` knows every current object (see :func:`unknown`).
    """
    threshold = now + timedelta(seconds=terms.renewal_s)
    until = _whole_second(now + timedelta(seconds=terms.period_s))
    extend: list[Extension] = []
    lapsed: list[str] = []
    unlocked: list[str] = []
    earliest: datetime | None = None
    whole = True
    for name, version in objects.current.items():
        lock = inventory[name]
        if lock.until is None or _weaker(lock.mode, terms.mode):
            unlocked.append(name)
            whole = False
        elif lock.until <= now:
            lapsed.append(name)
        if lock.until is not None and (earliest is None or lock.until < earliest):
            earliest = lock.until
        if lock.until is None or lock.until < threshold or _weaker(lock.mode, terms.mode):
            extend.append(Extension(name, version, max(until, lock.until or until)))
    return LockPlan(
        mode=terms.mode,
        until=until,
        extend=tuple(extend),
        objects=len(objects.current),
        lapsed=tuple(lapsed),
        unlocked=tuple(unlocked),
        missing=objects.missing,
        unreferenced=objects.unreferenced,
        earliest=earliest if whole else None,
    )


def extended(inventory: Mapping[str, Lock], plan: LockPlan) -> dict[str, Lock]:
    """Return what is known of the locks after a plan was carried out."""
    after = dict(inventory)
    after.update({one.name: Lock(one.version, plan.mode, one.until) for one in plan.extend})
    return after


def batches(extend: tuple[Extension, ...], size: int) -> Iterator[tuple[Extension, ...]]:
    """Yield what to extend in batches."""
    for start in range(0, len(extend), size):
        yield extend[start : start + size]


def _weaker(mode: LockMode | None, declared: LockMode) -> bool:
    return declared is LockMode.COMPLIANCE and mode is not LockMode.COMPLIANCE


def _whole_second(moment: datetime) -> datetime:
    """Return the next whole second: what S3 keeps of a date."""
    if not moment.microsecond:
        return moment
    return moment.replace(microsecond=0) + timedelta(seconds=1)
