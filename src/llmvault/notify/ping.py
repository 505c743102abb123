"""Pings as healthchecks.io has them: https://healthchecks.io/docs/http_api/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from llmvault.notify.model import Message, NotDeliveredError

_LONGEST_BODY = 10_000
_TEMPORARY = {408, 425, 429}


def send(place: Mapping[str, Any], message: Message, seconds: float) -> None:
    """Ping.

    Args:
        place: ``url``; ``signal``: empty for success, ``start``, ``fail``, ``log`` or an exit
            status; ``rid``: a UUID that start and end of a run share; ``create``: whether a check
            that is not there is made.

    Raises:
        NotDeliveredError: when the answer was not that it is taken.
    """
    try:
        answer = httpx.post(
            ping_url(place),
            content=message.text.encode()[-_LONGEST_BODY:],
            headers={"Content-Type": "text/plain; charset=utf-8"},
            timeout=seconds,
        )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise NotDeliveredError("its URL is none", again=False) from None
    except httpx.TimeoutException:
        raise NotDeliveredError(f"did not answer within {seconds:.3g} s") from None
    except httpx.HTTPError as error:
        raise NotDeliveredError(f"cannot be reached: {error}") from None
    if not answer.is_success:
        again = answer.is_server_error or answer.status_code in _TEMPORARY
        raise NotDeliveredError(f"answered {answer.status_code}", again=again)
    told = answer.text.strip()[:40].lower()
    if "not found" in told:  # answered with status 200
        raise NotDeliveredError("there is no such check", again=False)
    if "rate limited" in told:
        raise NotDeliveredError("it was pinged too often")


def ping_url(place: Mapping[str, Any]) -> httpx.URL:
    """Return the address of one ping.

    Raises:
        httpx.InvalidURL: when it is none.
    """
    url, signal = httpx.URL(place["url"]), place["signal"]
    if signal:
        url = url.copy_with(path=f"{url.path.rstrip('/')}/{signal}")
    if place.get("rid"):
        url = url.copy_set_param("rid", place["rid"])
    return url.copy_set_param("create", "1") if place.get("create") else url
