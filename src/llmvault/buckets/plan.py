"""What each bucket must be, and how it differs from what it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmvault.buckets.model import BucketPlan, Declared, Difference, Principals
from llmvault.buckets.statements import (
    is_ours,
    repository_statements,
    same_statements,
    tls_statement,
)
from llmvault.core.errors import PolicyError
from llmvault.objectstore.address import parse_location
from llmvault.objectstore.model import (
    BucketSettings,
    DefaultLock,
    LifecycleRule,
    Location,
    LockMode,
)
from llmvault.policy.model import Repository
from llmvault.policy.object_store import ObjectStore

RULE = "llmvault:"


def declared_buckets(repositories: Mapping[str, Repository]) -> tuple[Declared, ...]:
    """Return every bucket that the policy declares, with what all its repositories ask of it.

    Raises:
        PolicyError: when an address names no bucket, or two repositories ask for what excludes
            each other.
    """
    found: dict[tuple[str, str], Declared] = {}
    for name, repository in repositories.items():
        if repository.object_store is None:
            continue
        one = _declared(name, repository, repository.object_store)
        key = (one.location.endpoint, one.location.bucket)
        found[key] = _together(found[key], one) if key in found else one
    return tuple(found.values())


def location_of(name: str, repository: Repository) -> Location:
    """Return where a repository lies.

    Raises:
        PolicyError: when its address names no bucket.
    """
    try:
        return parse_location(repository.url)
    except ValueError as error:
        raise PolicyError(f'repository "{name}"', f"its address {error}") from error


def _declared(name: str, repository: Repository, store: ObjectStore) -> Declared:
    location = location_of(name, repository)
    statements = repository_statements(name, location, _principals(store))
    if store.tls_only:
        statements += (tls_statement(location),)
    rule = LifecycleRule(
        id=RULE + (location.prefix or "(all)"),
        prefix=location.key("") if location.prefix else "",
        enabled=True,
        noncurrent_days=store.lifecycle.old_versions,
        abort_days=store.lifecycle.uploads,
    )
    asks = rule.noncurrent_days is not None or rule.abort_days is not None
    return Declared(
        location=replace(location, prefix=""),
        repositories=(name,),
        versioning=store.versioning,
        lock=store.lock is not None,
        lock_default=default_lock(store),
        lifecycle=(rule,) if asks else (),
        encryption=store.encryption,
        statements=statements,
    )


def default_lock(store: ObjectStore) -> DefaultLock | None:
    """Return what new versions of a bucket must get; None when nothing, or set per object."""
    if store.lock is None or store.lock.per_object:
        return None
    return DefaultLock(LockMode(store.lock.mode.upper()), store.lock.period.days)


def _principals(store: ObjectStore) -> Principals:
    owner = store.maintenance.principal if store.maintenance else None
    reader = store.read_only.principal if store.read_only else None
    return Principals(owner or "", store.backup_principal or "", reader or "")


def _together(one: Declared, other: Declared) -> Declared:
    for setting in ("versioning", "lock", "lock_default", "encryption"):
        if getattr(one, setting) != getattr(other, setting):
            raise PolicyError(
                f'bucket "{one.location.bucket}"',
                f'repositories "{one.repositories[0]}" and "{other.repositories[0]}" declare'
                f" different things of it ({setting.replace('_', ' ')}), which holds for a bucket"
                " as a whole",
                "give each class a bucket of its own, or set the lock per object",
            )
    known = {str(statement["Sid"]) for statement in one.statements}
    more = tuple(s for s in other.statements if str(s["Sid"]) not in known)
    return replace(
        one,
        repositories=one.repositories + other.repositories,
        lifecycle=one.lifecycle + other.lifecycle,
        statements=one.statements + more,
    )


def plan_bucket(declared: Declared, actual: BucketSettings) -> BucketPlan:
    """Return how a bucket differs from what it is declared to be."""
    return BucketPlan(declared, actual, tuple(_differences(declared, actual)))


def _differences(declared: Declared, actual: BucketSettings) -> Iterator[Difference]:
    if not actual.exists:
        yield Difference("bucket", "there", "absent")
    if declared.versioning and actual.versioning != "Enabled":
        yield Difference("versioning", "Enabled", actual.versioning or "never switched on")
    yield from _lock_difference(declared, actual)
    ours = [rule for rule in actual.lifecycle if rule.id.startswith(RULE)]
    if _rules(ours) != _rules(declared.lifecycle):
        yield Difference("lifecycle", _rules_text(declared.lifecycle), _rules_text(ours))
    if declared.encryption is not None and actual.encryption != declared.encryption:
        yield Difference("encryption", declared.encryption, actual.encryption or "none")
    statements = [one for one in actual.statements if is_ours(one)]
    if not same_statements(statements, declared.statements):
        names, found = statements_text(declared.statements), statements_text(statements)
        other = f"{found}, with other content" if names == found else found
        yield Difference("policy", names, other)


def _lock_difference(declared: Declared, actual: BucketSettings) -> Iterator[Difference]:
    if not declared.lock:
        return
    if not actual.lock_enabled:
        yield Difference("lock", lock_text(True, declared.lock_default), "off")
    elif declared.lock_default is not None and actual.lock_default != declared.lock_default:
        yield Difference(
            "lock", lock_text(True, declared.lock_default), lock_text(True, actual.lock_default)
        )


def _rules(rules: Sequence[LifecycleRule]) -> set[tuple[Any, ...]]:
    return {(r.id, r.prefix, r.enabled, r.noncurrent_days, r.abort_days) for r in rules}


def lock_text(enabled: bool, default: DefaultLock | None) -> str:
    """Return a bucket's lock in words."""
    if not enabled:
        return "off"
    if default is None:
        return "on, without a default"
    return f"{default.mode.value.lower()} for {default.days} days"


def _rules_text(rules: Sequence[LifecycleRule]) -> str:
    return "; ".join(map(_rule_text, rules)) or "no rule of ours"


def _rule_text(rule: LifecycleRule) -> str:
    parts = [f"below {rule.prefix or 'the whole bucket'}"]
    if rule.noncurrent_days is not None:
        parts.append(f"old versions go after {rule.noncurrent_days} days")
    if rule.abort_days is not None:
        parts.append(f"unfinished uploads after {rule.abort_days}")
    return ", ".join(parts) + ("" if rule.enabled else ", switched off")


def statements_text(statements: Sequence[Mapping[str, Any]]) -> str:
    """Return statements in words: their names."""
    names = sorted(str(one.get("Sid", "?")) for one in statements)
    return ", ".join(names) or "no statement of ours"
