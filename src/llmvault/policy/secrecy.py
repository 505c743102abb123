"""Secrets where none should be: recognising them in what a policy says, and hiding them. Pure.

Recognition is by form (a password inside a URL, a well-known token prefix) and by name (an
environment variable or option that is called a token or password). It cannot find every secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmvault.core.secrets import SCHEMES
from llmvault.policy.tree import Value

HIDDEN = "***"
_IN_URL = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^/@:\s]*:)(?P<secret>[^/@\s]+)(?=@)")
_IN_QUERY = re.compile(
    r"(?P<before>[?&](?:ssl)?(?:password|token|api_?key|secret)=)(?P<secret>[^&\s]+)", re.IGNORECASE
)
_TOKEN = re.compile(
    r"(?P<before>\b)(?P<secret>(?:hf|sk|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_-]{16,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{16})\b"
)
_FORMS = (_IN_URL, _IN_QUERY, _TOKEN)
_NAME = re.compile(
    r"(?:^|[-_])(?:token|secret|password|passwd|passphrase|api[-_]?key|access[-_]?key"
    r"|private[-_]?key|credentials?)(?:$|[-_])(?!(?:file|path|dir)$)",
    re.IGNORECASE,
)


def hide(text: str) -> str:
    """Return a text with every secret that has a known form replaced by ``***``."""
    for form in _FORMS:
        text = form.sub(lambda match: match["before"] + HIDDEN, text)
    return text


def shows_secret(text: str) -> bool:
    """Whether a text holds something that has the form of a secret."""
    return hide(text) != text


def names_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret: ``HF_TOKEN``, ``--api-key``."""
    return _NAME.search(name.lstrip("-")) is not None


def hidden_arguments(argv: tuple[str, ...]) -> Iterator[str]:
    """Yield a command's arguments, ``***`` for the value of an option such as ``--api-key``."""
    named = False
    for argument in argv:
        name, equals, value = argument.partition("=")
        if named and not argument.startswith("-"):
            yield HIDDEN
        elif equals and value and names_secret(name):
            yield f"{name}={HIDDEN}"
        else:
            yield hide(argument)
        named = argument.startswith("-") and not equals and names_secret(argument)


def public(value: Value, key: str = "") -> Value:
    """Return JSON values with every recognised secret replaced by ``***``.

    Args:
        key: the key that holds the value; ``command`` and ``environment`` mean something here.
    """
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        if key == "command":
            return list(hidden_arguments(tuple(map(str, value))))
        return [public(one) for one in value]
    if isinstance(value, dict):
        return {
            name: HIDDEN if key == "environment" and _is_secret(name, one) else public(one, name)
            for name, one in value.items()
        }
    return value


def _is_secret(name: str, value: Value) -> bool:
    reference = isinstance(value, str) and value.partition(":")[0] in SCHEMES
    return bool(value) and names_secret(name) and not reference
