"""The process that carries one order out, from the inside.

Reads the order as JSON from standard input, so that no secret is in an argument or in the
environment, and answers ``{"tries", "cause"}`` on standard output. It may hang, leak or crash:
whoever started it ends it after a while.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from llmvault.notify.model import Delivered, Message, NotDeliveredError

Send = Callable[[Mapping[str, Any], Message, float], None]

_MODULES = {"apprise": "chat", "email": "mail", "ping": "ping", "file": "lines"}
_LONGEST_TRY = 10.0
_LONGEST_WAIT = 60.0


def carry_out(order: Mapping[str, Any], send: Send) -> Delivered:
    """Try until it is delivered, trying again is useless, or the attempts are used up."""
    patience, backoff = order["patience"], order["patience"]["backoff_s"]
    tries = Retrying(
        stop=stop_after_attempt(patience["attempts"]),
        wait=wait_exponential(multiplier=backoff, max=_LONGEST_WAIT) + wait_random(0, backoff / 2),
        retry=retry_if_exception(lambda one: isinstance(one, NotDeliveredError) and one.again),
        reraise=True,
    )
    seconds = min(_LONGEST_TRY, patience["timeout_s"])
    try:
        tries(send, order["place"], Message(**order["message"]), seconds)
    except NotDeliveredError as error:
        return Delivered(tries.statistics["attempt_number"], error.cause)
    except Exception as error:  # noqa: BLE001  its words may hold the address
        cause = f"an error in llmvault or a library of it: {type(error).__name__}"
        return Delivered(tries.statistics["attempt_number"], cause)
    return Delivered(tries.statistics["attempt_number"])


def main() -> int:
    """Carry the order on standard input out."""
    order = json.load(sys.stdin)
    module = importlib.import_module(f"llmvault.notify.{_MODULES[order['kind']]}")
    done = carry_out(order, module.send)
    sys.stdout.write(json.dumps({"tries": done.tries, "cause": done.cause}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
