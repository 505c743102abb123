"""Object stores of the policy: which credential does what, and what runs on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from llmvault.app.installation import Installation
from llmvault.buckets.model import BucketPlan
from llmvault.buckets.plan import declared_buckets, location_of
from llmvault.buckets.run import BucketPorts, apply_buckets, check_buckets, key_of, plan_buckets
from llmvault.buckets.tamper import TamperResult, Target, facts_of, run_tamper
from llmvault.catalog.model import ProofEntry
from llmvault.core.errors import PolicyError
from llmvault.core.secrets import Secret, SecretRef
from llmvault.core.verdict import Check, Verdict
from llmvault.doctor.model import Diagnosis
from llmvault.objectstore.model import LockMode
from llmvault.objectstore.s3 import Bucket, Credential
from llmvault.policy.model import Repository
from llmvault.policy.object_store import KeyPair, ObjectStore

BACKUP, MAINTENANCE, READ_ONLY = "backup", "maintenance", "read-only"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105  the name of a variable


def stores(app: Installation, names: Iterable[str] | None = None) -> dict[str, ObjectStore]:
    """Return the repositories that declare their object store: the named ones, or all.

    Raises:
        PolicyError: when a named repository is not in the policy, or declares none.
    """
    known = app.policy.repositories
    for name in names or ():
        if name not in known or known[name].object_store is None:
            has = ", ".join(n for n, one in known.items() if one.object_store) or "none"
            raise PolicyError(
                f'repository "{name}"', "it declares no object_store", f"these do: {has}"
            )
    wanted = tuple(names or known)
    return {name: store for name in wanted if (store := known[name].object_store) is not None}


def open_bucket(app: Installation, name: str, purpose: str) -> Bucket:
    """Open the bucket of a repository, with the credential for a purpose.

    Where the policy declares none for it, the repository's own keys are used.

    Raises:
        PolicyError: when there are no keys at all.
        UnavailableError: when a secret cannot be had.
    """
    repository = app.policy.repositories[name]
    store = stores(app, (name,))[name]
    return Bucket(
        location_of(name, repository),
        _credential(app, name, repository, _pair(store, purpose), purpose),
        app.clock,
        region=store.region,
    )


def variables(app: Installation, name: str, purpose: str) -> Mapping[str, Secret]:
    """Return the variables that give restic the credential for a purpose; empty for its own."""
    store = app.policy.repositories[name].object_store
    pair = _pair(store, purpose) if store else None
    if pair is None:
        return {}
    values = (app.secrets.resolve(pair.access_key), app.secrets.resolve(pair.secret_key))
    return dict(zip(_KEYS, values, strict=True))


def _pair(store: ObjectStore, purpose: str) -> KeyPair | None:
    return {MAINTENANCE: store.maintenance, READ_ONLY: store.read_only}.get(purpose)


def _credential(
    app: Installation, name: str, repository: Repository, pair: KeyPair | None, purpose: str
) -> Credential:
    if pair is not None:
        access, secret = app.secrets.resolve(pair.access_key), app.secrets.resolve(pair.secret_key)
        return Credential(purpose, access, secret)
    given: Mapping[str, SecretRef] = repository.environment
    missing = [key for key in _KEYS if key not in given]
    if missing:
        raise PolicyError(
            f'repository "{name}"',
            f"its environment lacks {' and '.join(missing)}",
            "give them by reference: AWS_ACCESS_KEY_ID: env:NAME",
        )
    token = app.secrets.resolve(given[_TOKEN]) if _TOKEN in given else None
    keys = [app.secrets.resolve(given[key]) for key in _KEYS]
    return Credential(BACKUP, keys[0], keys[1], token)


def bucket_ports(app: Installation) -> BucketPorts:
    """Return what comparing and setting up buckets works with."""
    declared = declared_buckets(app.policy.repositories)
    opened = {
        key_of(one): (one, partial(open_bucket, app, one.repositories[0], MAINTENANCE))
        for one in declared
    }
    return BucketPorts(opened, app.ledger)


def plan_stores(app: Installation) -> tuple[BucketPlan, ...]:
    """Return how every bucket differs from the policy."""
    return plan_buckets(bucket_ports(app))


def apply_stores(app: Installation, plans: Iterable[BucketPlan]) -> tuple[Check, ...]:
    """Make the buckets as declared; every setting is read back."""
    return apply_buckets(bucket_ports(app), plans)


def set_up_stores(app: Installation) -> tuple[Check, ...]:
    """Compare and make as declared, in one go."""
    return apply_stores(app, plan_stores(app)) if stores(app) else ()


def tamper_with(app: Installation, names: Iterable[str] | None = None) -> tuple[TamperResult, ...]:
    """Run the tamper test on repositories and enter what happened into the catalog."""
    results = []
    for name, store in stores(app, names).items():
        result = run_tamper(_target(app, name, store), app.clock, app.ledger)
        now = app.clock.now()
        facts = {"attempts": dict(facts_of(result))}
        proof = app.ids.new("proof", now)
        app.catalog.add_proof(ProofEntry(proof, "tamper", name, now, result.verdict.value, facts))
        results.append(result)
    return tuple(results)


def tamper_checks(app: Installation, names: Iterable[str]) -> tuple[Check, ...]:
    """Return, for those of some repositories that declare a store, how the tamper test ended.

    One check each: a drill's list is of what was restored, not of every attempt.
    """
    declared = [name for name in names if app.policy.repositories[name].object_store is not None]
    if not declared:
        return ()
    return tuple(map(_summary, tamper_with(app, declared)))


def _summary(result: TamperResult) -> Check:
    bad = [check for check in result.checks if check.verdict is not Verdict.PROVEN]
    detail = "; ".join(f"{check.name}: {check.detail}" for check in bad)
    refused = sum(check.detail.startswith("refused") for check in result.checks)
    return Check(
        f"tamper:{result.repository}",
        "",
        result.verdict,
        detail or f"{refused} attempts with the backup credential were refused",
    )


def _target(app: Installation, name: str, store: ObjectStore) -> Target:
    lock = LockMode(store.lock.mode.upper()) if store.lock else None
    return Target(
        repository=name,
        location=location_of(name, app.policy.repositories[name]),
        lock=lock,
        per_object=store.lock is not None and store.lock.per_object,
        attacker=partial(open_bucket, app, name, BACKUP),
        keeper=partial(open_bucket, app, name, MAINTENANCE),
    )


def diagnose_stores(app: Installation) -> Iterator[Diagnosis]:
    """Yield what the doctor says of buckets: as declared, and not to be tampered with."""
    if not stores(app):
        return
    step = "see llmvault policy plan, then llmvault policy apply"
    for check in check_buckets(bucket_ports(app)):
        yield _diagnosis(f'bucket "{check.source}"', check, step)
    for name, store in stores(app).items():
        yield from _diagnose_credentials(app, name, store)
    for result in tamper_with(app):
        step = "llmvault tamper shows every attempt; correct credential, policy or lock"
        yield _diagnosis(f'tamper test of "{result.repository}"', _summary(result), step)


def _diagnose_credentials(app: Installation, name: str, store: ObjectStore) -> Iterator[Diagnosis]:
    if store.maintenance is None:
        yield Diagnosis(
            f'credentials of "{name}"',
            Verdict.FAILED,
            "no maintenance credential is declared, so backups hold one that may also delete",
            "declare object_store.maintenance, and backup_principal for the repository's own keys",
        )


def _diagnosis(subject: str, check: Check, step: str) -> Diagnosis:
    return Diagnosis(
        subject, check.verdict, check.detail, "" if check.verdict is Verdict.PROVEN else step
    )
