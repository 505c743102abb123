"""What does not leave in evidence: free text, personal data, secrets. Pure.

Recognition is by key (a policy's prompts and texts) and by form (addresses of people, home
directories, secrets as ``policy.secrecy`` knows them). It cannot know every name of a person;
nothing that people typed as free text is taken along in the first place.
"""

from __future__ import annotations

import re
from typing import Any

from llmvault.policy.secrecy import hide

_FREE_TEXT = frozenset({"prompts", "texts", "queries", "system_prompt", "description", "comment"})
_ADDRESS = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_HOME = re.compile(r"(?P<before>/(?:home|Users)/)[^/\s\"']+")
_ADDRESS_WITHHELD = "(address withheld)"
_HOME_WITHHELD = r"\g<before>(withheld)"


def masked(text: str) -> str:
    """Return a text without what has the form of a secret or of a person's address."""
    return _HOME.sub(_HOME_WITHHELD, _ADDRESS.sub(_ADDRESS_WITHHELD, hide(text)))


def is_clean(text: str) -> bool:
    """Whether a text can leave as it is."""
    return masked(text) == text


def cleaned(value: Any, key: str = "") -> Any:  # noqa: ANN401  JSON values of any shape
    """Return JSON values that can leave; free text is replaced by how much of it there was.

    Args:
        key: the key that holds the value.
    """
    if key in _FREE_TEXT and value:
        count = len(value) if isinstance(value, list | tuple) else 1
        return f"({count} texts withheld)" if count > 1 else "(text withheld)"
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list | tuple):
        return [cleaned(one) for one in value]
    if isinstance(value, dict):
        return {masked(str(name)): cleaned(one, str(name)) for name, one in value.items()}
    return value
