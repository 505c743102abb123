"""A file with a message as a line of JSON each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmvault.core.files import private_directory
from llmvault.notify.model import Message, NotDeliveredError


def send(place: Mapping[str, Any], message: Message, seconds: float) -> None:
    """Append a message to the file ``place["path"]``, durably.

    Raises:
        NotDeliveredError: when it cannot be written.
    """
    del seconds
    line = {
        "at": message.at,
        "severity": message.severity,
        "title": message.title,
        "text": message.text,
    }
    path = Path(place["path"])
    try:
        private_directory(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NotDeliveredError(f"cannot be written: {error.strerror}") from None
