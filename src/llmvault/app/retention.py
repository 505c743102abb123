"""Retention, holds and approvals, wired to the policy and the state of this installation."""

from __future__ import annotations

from collections.abc import Iterable

from llmvault.access.keygen import KeyGen
from llmvault.access.model import Member, Rule
from llmvault.access.run import AccessPorts
from llmvault.access.store import AccessStore
from llmvault.app.base import App
from llmvault.app.buckets import MAINTENANCE, variables
from llmvault.app.holds import hold_store
from llmvault.app.lock_dates import StorageLocks
from llmvault.core.errors import PolicyError
from llmvault.holds.run import HoldPorts
from llmvault.ledger.model import Entry
from llmvault.policy.retention import Keep, RetentionClass
from llmvault.retention.model import COUNTED, UNLIMITED, WITHIN, ClassRules, KeepRules
from llmvault.retention.observe import ObservePorts, RetentionClassPorts
from llmvault.retention.recover import Recovered, RecoveryStores, recover
from llmvault.retention.run import RetentionPorts
from llmvault.retention.store import RetentionStore


def access_ports(app: App) -> AccessPorts:
    """Return what approvals work with."""
    return AccessPorts(
        clock=app.clock,
        keygen=KeyGen(app.runner),
        store=AccessStore(app.settings.state / "access"),
        ledger=app.ledger,
        account=app.settings.account,
        members={
            name: Member(name, frozenset(one.roles), one.keys, frozenset(one.accounts))
            for name, one in app.policy.people.items()
        },
        rules={
            name: Rule(
                name=name,
                approvers=rule.approvers,
                roles=frozenset(rule.roles),
                valid_for=rule.valid_for,
                hardware=rule.hardware,
                touch=rule.touch,
                pin=rule.pin,
            )
            for name, rule in app.policy.approvals.items()
        },
    )


def hold_ports(app: App) -> HoldPorts:
    """Return what holds work with."""
    points = app.catalog.points()
    taken = {str(source["name"]) for point in points for source in point.sources}
    return HoldPorts(
        clock=app.clock,
        ids=app.ids,
        store=hold_store(app),
        ledger=app.ledger,
        access=access_ports(app),
        points={point.id for point in points},
        sources={*app.policy.sources, *taken},
    )


def retention_ports(app: App, classes: Iterable[str] = ()) -> RetentionPorts:
    """Return what retention works with: the named classes, or all of the policy.

    Raises:
        PolicyError: when the policy has no such class, or none at all.
    """
    kept = tuple(_class_ports(app, name) for name in class_names(app, classes))
    repositories = {name: one for ports in kept for name, one in ports.repositories.items()}
    return RetentionPorts(
        observe=ObservePorts(
            clock=app.clock,
            classes=kept,
            known=lambda: app.catalog,
            holds=lambda: hold_store(app),
            locks=StorageLocks(app, repositories),
        ),
        access=access_ports(app),
        store=retention_store(app),
        memory=app.memory,
        ledger=app.ledger,
        rows=lambda: app.catalog,
    )


def retention_store(app: App) -> RetentionStore:
    """Return the plans and runs on this host."""
    return RetentionStore(app.settings.state / "retention")


def recover_retention(app: App, entries: Iterable[Entry]) -> Recovered:
    """Write holds, approvals and deletions again, from the entries of a verified ledger.

    Needs settings and catalog only, no policy.

    Raises:
        IntegrityError: when an entry is not in the documented form.
    """
    stores = RecoveryStores(
        hold_store(app),
        AccessStore(app.settings.state / "access"),
        retention_store(app),
        app.catalog,
    )
    return recover(entries, stores)


def class_names(app: App, named: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the named retention classes, or all of the policy.

    Raises:
        PolicyError: when one is unknown or the policy has none.
    """
    known = app.policy.retention
    names = tuple(named) or tuple(known)
    if not names:
        raise PolicyError(
            f"policy in {app.settings.policies}",
            "it has no retention class, so nothing is ever deleted",
            "declare one under retention:",
        )
    for name in names:
        if name not in known:
            has = ", ".join(known) or "none"
            raise PolicyError(
                f'retention class "{name}"', "the policy has no such class", f"it has {has}"
            )
    return names


def class_rules(name: str, declared: RetentionClass) -> ClassRules:
    """Return what the policy says of a class."""
    return ClassRules(
        name=name,
        basis=declared.basis,
        keep=keep_rules(declared.keep),
        minimum=declared.minimum,
        approval=declared.approval,
        accept_newer=declared.accept_newer,
        wait_for_lock=declared.wait_for_lock,
        copies=keep_rules(declared.installation_copies),
        locked_for=declared.locked_for,
    )


def keep_rules(keep: Keep) -> KeepRules:
    """Return the keep rules that a policy says."""
    counts = {rule: getattr(keep, rule) for rule in COUNTED}
    spans = {rule: getattr(keep, rule) for rule in WITHIN}
    return KeepRules(
        counts={
            rule: UNLIMITED if count == "unlimited" else count
            for rule, count in counts.items()
            if count is not None
        },
        within=keep.within,
        within_by={rule: span for rule, span in spans.items() if span is not None},
        tags=tuple(frozenset(tags.split(",")) for tags in keep.tags),
    )


def _class_ports(app: App, name: str) -> RetentionClassPorts:
    repositories = {
        label: app.repository(label).with_backend(variables(app, label, MAINTENANCE))
        for label, one in app.policy.repositories.items()
        if one.retention_class == name
    }
    return RetentionClassPorts(class_rules(name, app.policy.retention[name]), repositories)
