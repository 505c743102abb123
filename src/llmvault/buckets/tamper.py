"""The tamper test: try to destroy, with the credential that backups use, and want to be refused.

It works on one small canary object below the repository, which restic does not look at. A refusal
proves; an accepted attempt is a failure, whatever came of it; what could not be tried proves
nothing. What an attempt changed is put right at once with the maintenance credential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from llmvault.buckets.statements import CANARIES
from llmvault.core.clock import Clock
from llmvault.core.errors import RefusedError, VaultError
from llmvault.core.verdict import Check, Verdict, combine
from llmvault.ledger.interface import Ledger
from llmvault.objectstore.model import Head, Location, LockMode, Retention
from llmvault.objectstore.s3 import Bucket, as_utc

_LEFT = timedelta(hours=2)
_PER_OBJECT = timedelta(days=1)
_CONTENT = b"llmvault tries to delete this object, to prove that nobody can.\n"


@dataclass(frozen=True, slots=True)
class Target:
    """One repository to be attacked.

    Attributes:
        lock: declared mode; None where only the credential is to be tested.
        per_object: the canary is locked by the maintenance credential, not by the bucket.
        attacker: opens the bucket with the backup credential.
        keeper: opens it with the maintenance credential.
    """

    repository: str
    location: Location
    lock: LockMode | None
    per_object: bool
    attacker: Callable[[], Bucket]
    keeper: Callable[[], Bucket]


@dataclass(frozen=True, slots=True)
class TamperResult:
    """What became of the attempts on one repository."""

    repository: str
    verdict: Verdict
    checks: tuple[Check, ...]


def run_tamper(target: Target, clock: Clock, ledger: Ledger) -> TamperResult:
    """Attack one repository's canary and tell what happened; nothing escapes but a dead ledger.

    Raises:
        UnavailableError: when the ledger cannot be written; then nothing is tried.
    """
    ledger.append("tamper.started", {"repository": target.repository})
    try:
        checks = tuple(_attack(target, clock))
    except VaultError as error:
        checks = (_unproven(target, "canary", error),)
    result = TamperResult(target.repository, combine(check.verdict for check in checks), checks)
    facts = {check.name: check.verdict.value for check in checks}
    ledger.append(
        "tamper.tested",
        {"repository": target.repository, "verdict": result.verdict.value, "attempts": facts},
    )
    return result


def _attack(target: Target, clock: Clock) -> Iterator[Check]:
    key = target.location.key(f"{CANARIES}/canary")
    bucket = target.attacker()
    canary = _canary(target, bucket, key, clock.now())
    yield Check(
        "canary", target.repository, Verdict.PROVEN,
        f"written and read with the credential {bucket.credential.name}",
    )  # fmt: skip
    if not canary.version or canary.version == "null":
        yield _bad(target, "delete-version", "the bucket keeps no versions: a delete is final")
    else:
        yield from _attacks_on_version(target, bucket, key, canary, clock.now())
    yield _attempt(target, "hide", lambda: bucket.delete(key), lambda: _unhide(target, key))
    yield _suspend(target, bucket)
    yield _survived(target, bucket, key, canary)


def _canary(target: Target, bucket: Bucket, key: str, now: datetime) -> Head:
    """Return the canary: the last one while its lock holds, else a new one."""
    try:
        found = bucket.head(key)
    except VaultError:
        found = None
    if found is not None and found.retention and found.retention.until > now + _LEFT:
        return found
    version = bucket.put(key, _CONTENT)
    if target.per_object and target.lock is not None and version:
        until = as_utc(now + _PER_OBJECT)
        target.keeper().retain(key, version, Retention(target.lock, until))
    return bucket.head(key, version)


def _attacks_on_version(
    target: Target, bucket: Bucket, key: str, canary: Head, now: datetime
) -> Iterator[Check]:
    version = canary.version
    yield _attempt(target, "delete-version", lambda: bucket.delete(key, version))
    yield _attempt(
        target, "delete-version-bypassing", lambda: bucket.delete(key, version, bypass=True)
    )
    if target.lock is None:
        return
    lock = canary.retention
    if lock is None:
        yield _bad(target, "lock", "a new object got no lock, though one is declared")
        return
    yield _locked(target, lock)
    sooner = Retention(lock.mode, as_utc(now + (lock.until - now) / 2))
    yield _attempt(target, "shorten-lock", lambda: bucket.retain(key, version, sooner))
    yield _attempt(
        target, "shorten-lock-bypassing", lambda: bucket.retain(key, version, sooner, bypass=True)
    )


def _locked(target: Target, lock: Retention) -> Check:
    mode = lock.mode.value.lower()
    if target.lock is LockMode.COMPLIANCE and lock.mode is not LockMode.COMPLIANCE:
        return _bad(target, "lock", f"the canary is locked in {mode} mode, not compliance")
    detail = f"locked in {mode} mode until {lock.until:%Y-%m-%d %H:%M} UTC"
    return Check("lock", target.repository, Verdict.PROVEN, detail)


def _suspend(target: Target, bucket: Bucket) -> Check:
    def repair() -> None:
        target.keeper().set_versioning(enabled=True)

    return _attempt(
        target, "suspend-versions", lambda: bucket.set_versioning(enabled=False), repair
    )


def _unhide(target: Target, key: str) -> None:
    keeper = target.keeper()
    for version in tuple(keeper.versions(key)):
        if version.key == key and version.marker and version.latest:
            keeper.delete(key, version.id)


def _attempt(
    target: Target,
    name: str,
    attack: Callable[[], None],
    repair: Callable[[], None] = lambda: None,
) -> Check:
    try:
        attack()
    except RefusedError as error:
        return Check(name, target.repository, Verdict.PROVEN, f"refused: {error.cause}")
    except VaultError as error:
        return _unproven(target, name, error)
    detail = "the server accepted it from the backup credential"
    try:
        repair()
    except VaultError as error:
        detail += f", and it could not be put right: {error.diagnostics()}"
    return _bad(target, name, detail)


def _survived(target: Target, bucket: Bucket, key: str, canary: Head) -> Check:
    """Whether the canary is still there with its lock: a 403 alone would prove less."""
    try:
        now = bucket.head(key, canary.version)
    except VaultError as error:
        return _bad(target, "canary-survives", f"it cannot be read any more: {error.cause}")
    before, after = canary.retention, now.retention
    if before and (after is None or after.until < before.until or after.mode != before.mode):
        return _bad(target, "canary-survives", "its lock is weaker than before")
    return Check("canary-survives", target.repository, Verdict.PROVEN, "as it was, with its lock")


def _bad(target: Target, name: str, detail: str) -> Check:
    return Check(name, target.repository, Verdict.FAILED, detail)


def _unproven(target: Target, name: str, error: VaultError) -> Check:
    return Check(name, target.repository, Verdict.UNPROVEN, f"could not be tried: {error.cause}")


def facts_of(result: TamperResult) -> Mapping[str, str]:
    """Return attempt -> verdict, for the catalog."""
    return {check.name: check.verdict.value for check in result.checks}
