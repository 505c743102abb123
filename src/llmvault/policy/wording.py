"""What to say about a value that is wrong: what was seen and what to write instead. Pure.

Values are repeated only where they cannot be secrets: kinds, and words out of a fixed choice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llmvault.policy.fields import Model
from llmvault.policy.model import Policy
from llmvault.policy.shape import DEFAULTS, Section
from llmvault.policy.tree import Key, Node

_NAME = (
    "is no name: names are lower-case letters, digits, '.', '_' and '-', at most 63, "
    "and begin with a letter or digit"
)
_MAPPING_ERRORS = {"dict_type", "model_type", "model_attributes_type"}
_LIST_ERRORS = {"tuple_type", "list_type"}
_TEXT_ERRORS = {"string_type", "path_type"}


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a hint such as ``did you mean "exclude"?``, or else the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(names)}" if names else "there are none"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return what to say of a key that nobody reads."""
    return f"unknown key; {did_you_mean(key, known)}"


def not_a_mapping(node: Node) -> str:
    """Return what to say where keys and values were expected."""
    return f"should be a mapping (lines of `key: value`), but is {_described(node)}"


def no_common_field(section: Section, key: str) -> str:
    """Return what to say of a key that ``defaults`` cannot give to every kind of a section."""
    owners = [kind for kind, model in section.kinds.items() if key in model.model_fields]
    if owners and key != "kind":
        place = f"{DEFAULTS}.{section.singular}.{owners[0]}"
        return f"only some kinds have this key; write it below {place}"
    kinds = section.kinds if section.has_kinds else ()
    return unknown_key(key, (*section.common_fields(), *kinds))


@dataclass(frozen=True, slots=True)
class Fault:
    """One error of the models, at its place in the tree.

    Attributes:
        error: pydantic's name of the error.
        message: pydantic's message.
        node: the value; what should have held it when it is missing.
        key: the last key on the way to it.
        holder: the model that has, or should have, that key.
        kinds: the kinds there are, where a kind is wrong.
    """

    error: str
    message: str
    node: Node
    key: Key
    holder: type[Model] | None
    kinds: tuple[str, ...] = ()


def what_is_wrong(fault: Fault) -> str:
    """Return what to say of an error."""
    if fault.error in _LIST_ERRORS:
        return (
            f"should be a list ([one, two], or lines of `- one`), but is {_described(fault.node)}"
        )
    if fault.error in _MAPPING_ERRORS:
        return not_a_mapping(fault.node)
    if fault.error in _TEXT_ERRORS:
        return _text(fault)
    say = _SAY.get(fault.error)
    return say(fault) if say else _as_pydantic_says(fault)


def _missing(fault: Fault) -> str:
    info = fault.holder.model_fields.get(str(fault.key)) if fault.holder else None
    meaning = f": {info.description}" if info and info.description else ""
    return f"is required{meaning}"


def _unknown(fault: Fault) -> str:
    known = list(fault.holder.model_fields) if fault.holder else []
    return unknown_key(str(fault.key), [*known, DEFAULTS] if fault.holder is Policy else known)


def _kind_missing(fault: Fault) -> str:
    return f"kind is required; one of {', '.join(fault.kinds)}"


def _kind_unknown(fault: Fault) -> str:
    given = fault.node.entries.get("kind")
    word = given.value if given else ""
    if not isinstance(word, str):
        return _kind_missing(fault)
    close = difflib.get_close_matches(word, fault.kinds, n=1)
    hint = f'did you mean "{close[0]}"? There are' if close else "there are"
    return f'"{word}" is no kind; {hint} {", ".join(fault.kinds)}'


def _literal(fault: Fault) -> str:
    choice = fault.message.removeprefix("Input should be ")
    given = fault.node.raw or fault.node.value
    hint = did_you_mean(given, re.findall(r"'([^']+)'", choice)) if isinstance(given, str) else ""
    return f"should be {choice}" + (f"; {hint}" if hint.startswith("did") else "")


def _text(fault: Fault) -> str:
    number = isinstance(fault.node.value, int | float)
    described = _described(fault.node)
    return f"should be text, but is {described}" + ("; put it in quotes" if number else "")


def _as_pydantic_says(fault: Fault) -> str:
    message = fault.message.removeprefix("Value error, ")
    message = re.sub("^Input should be", "should be", message)
    if fault.node.raw and isinstance(fault.node.value, str) and fault.node.value:
        message = message.replace(fault.node.value, fault.node.raw)
    return message


_SAY: dict[str, Callable[[Fault], str]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "union_tag_not_found": _kind_missing,
    "union_tag_invalid": _kind_unknown,
    "literal_error": _literal,
    "string_pattern_mismatch": lambda _: _NAME,
    "too_short": lambda _: "should not be empty",
    **dict.fromkeys(
        ("int_parsing", "int_type", "int_from_float"), lambda _: "should be a whole number"
    ),
    **dict.fromkeys(("float_parsing", "float_type"), lambda _: "should be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), lambda _: "should be true or false"),
}


def _described(node: Node) -> str:
    value = node.value
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else "text"
