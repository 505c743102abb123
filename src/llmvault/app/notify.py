"""Telling people, wired: a target of the policy becomes an order, with its secrets resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

from llmvault.app.base import App
from llmvault.core.errors import PolicyError, VaultError
from llmvault.core.secrets import SecretRef, SecretResolver
from llmvault.notify.deliver import Messenger
from llmvault.notify.model import Delivered, Message, Order, Patience
from llmvault.policy.notify import (
    AppriseTarget,
    EmailTarget,
    PingTarget,
    Reader,
    Target,
    TargetBase,
)

_NO_SLUG = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Signal:
    """What a ping says.

    Attributes:
        signal: empty for success, ``start``, ``fail``, ``log`` or an exit status.
        rid: a UUID that start and end of a run share; empty for none.
    """

    signal: str
    job: str
    host: str
    rid: str = ""


@dataclass(frozen=True, slots=True)
class Post:
    """Sends to targets of the policy; safe to use from several threads."""

    secrets: SecretResolver
    messenger: Messenger

    def send(self, target: Reader, message: Message, stop: Event) -> Delivered:
        """Send a message; never raises."""
        try:
            place, secrets = self._place(target)
        except VaultError as error:
            return Delivered(0, f"{error.thing}: {error.cause}")
        order = Order(target.kind, place, message, _patience(target), secrets)
        return self.messenger.deliver(order, stop)

    def ping(self, target: PingTarget, signal: Signal, message: Message, stop: Event) -> Delivered:
        """Ping; never raises."""
        try:
            url = self.secrets.resolve(target.url).reveal()
        except VaultError as error:
            return Delivered(0, f"{error.thing}: {error.cause}")
        place = {
            "url": "/".join([url.rstrip("/"), *slug_of(target, signal)]),
            "signal": signal.signal,
            "rid": signal.rid,
            "create": target.create,
        }
        order = Order(target.kind, place, message, _patience(target), (url,))
        return self.messenger.deliver(order, stop)

    def _place(self, target: Reader) -> tuple[dict[str, Any], tuple[str, ...]]:
        if isinstance(target, AppriseTarget):
            url = self.secrets.resolve(target.url).reveal()
            return {"url": url}, (url,)
        if not isinstance(target, EmailTarget):
            return {"path": str(target.path)}, ()
        user, password = self._revealed(target.user), self._revealed(target.password)
        place = {
            "server": target.server,
            "port": target.port,
            "security": target.security,
            "user": user,
            "password": password,
            "sender": target.sender,
            "recipients": list(target.recipients),
        }
        return place, tuple(one for one in (user, password) if one)

    def _revealed(self, reference: SecretRef | None) -> str:
        return self.secrets.resolve(reference).reveal() if reference else ""


def post_of(app: App) -> Post:
    """Return what sends for this installation."""
    return Post(app.secrets, Messenger(app.runner, app.clock))


def slug_of(target: PingTarget, signal: Signal) -> tuple[str, ...]:
    """Return what names the job's check below the URL; nothing when the URL is that of a check."""
    if target.slug is None:
        return ()
    filled = target.slug.replace("{job}", signal.job).replace("{host}", signal.host)
    return (_NO_SLUG.sub("-", filled.lower()),)


def targets_named(app: App, names: tuple[str, ...]) -> Mapping[str, Target]:
    """Return the named targets, or all of the policy.

    Raises:
        PolicyError: when one is unknown or there is none.
    """
    known = app.policy.notify
    if not known:
        raise PolicyError(
            f"policy in {app.settings.policies}",
            "it names nobody to tell anything",
            "declare targets under notify:",
        )
    for name in names:
        if name not in known:
            has = ", ".join(known)
            raise PolicyError(f'target "{name}"', "the policy has no such target", f"it has {has}")
    return {name: known[name] for name in names or tuple(known)}


def _patience(target: TargetBase) -> Patience:
    return Patience(target.attempts, target.backoff.total_seconds(), target.timeout.total_seconds())
