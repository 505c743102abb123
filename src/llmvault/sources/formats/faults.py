"""What is wrong with a file's header."""

from __future__ import annotations

from llmvault.core.errors import IntegrityError


class HeaderError(IntegrityError):
    """A header that contradicts its format or its file.

    Attributes:
        name: stable machine name of the fault, e.g. ``header-truncated``.
    """

    def __init__(self, path: str, name: str, cause: str) -> None:
        super().__init__(
            path, cause, "fetch the file again from where it came from, then back up again"
        )
        self.name = name
