"""Chats, push services and what else Apprise speaks to: the only user of Apprise.

https://github.com/caronc/apprise/wiki
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from llmvault.notify.model import Message, NotDeliveredError

_TYPES = {"warning": "warning", "error": "failure", "critical": "failure", "resolved": "success"}


def send(place: Mapping[str, Any], message: Message, seconds: float) -> None:
    """Hand a message over to the service of the Apprise URL ``place["url"]``.

    Raises:
        NotDeliveredError: when it was not taken.
    """
    try:
        import apprise
    except ImportError:
        raise NotDeliveredError(
            "Apprise is not installed here; install llmvault[notify]", again=False
        ) from None
    asset = apprise.AppriseAsset(app_id="llmvault", app_desc="llmvault", app_url="")
    service = apprise.Apprise(asset=asset)
    if not service.add(place["url"]):
        raise NotDeliveredError("its URL is none that Apprise knows", again=False)
    for one in service:
        one.socket_read_timeout = min(one.socket_read_timeout, seconds)
        one.socket_connect_timeout = min(one.socket_connect_timeout, seconds)
    capture = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]
    with capture as heard:
        taken = service.notify(
            title=message.title,
            body=message.text,
            notify_type=apprise.NotifyType(_TYPES.get(message.severity, "info")),
            body_format=apprise.NotifyFormat.TEXT,
        )
        said = heard.getvalue().strip().splitlines() if heard is not None else []
    if not taken:
        raise NotDeliveredError(said[0] if said else "the service did not take it")
