"""Checking a merged policy against the models, with the place and a next step for each problem."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from llmvault.policy.fields import Model
from llmvault.policy.model import Policy
from llmvault.policy.problems import Problem, problem
from llmvault.policy.shape import DEFAULTS, Section, nested_model, sections
from llmvault.policy.tree import Key, Keys, Node, at, plain
from llmvault.policy.wording import (
    Fault,
    no_common_field,
    not_a_mapping,
    unknown_key,
    what_is_wrong,
)

_ABOUT_KEY = {"extra_forbidden", "union_tag_not_found"}


def checked(whole: Node, problems: list[Problem]) -> Policy | None:
    """Return the policy that a tree says, or None after adding what is wrong to `problems`."""
    try:
        return Policy.model_validate(plain(whole))
    except ValidationError as error:
        seen = {(one.file, one.line, one.column) for one in problems}
        for detail in error.errors(include_url=False):
            keys = _keys(detail["loc"])
            found = _problem(whole, keys, _holder(whole, keys), detail)
            if (found.file, found.line, found.column) not in seen:
                problems.append(found)
        return None


def check_defaults(whole: Node) -> Iterator[Problem]:
    """Yield what is wrong below ``defaults``, also where no item uses it."""
    defaults = whole.entries.get(DEFAULTS)
    if defaults is None:
        return
    if not isinstance(defaults.value, dict):
        yield problem(defaults.start, (DEFAULTS,), not_a_mapping(defaults))
    singulars = {section.singular: section for section in sections().values()}
    for key, given in defaults.entries.items():
        if key in singulars:
            yield from _section_defaults(whole, singulars[key], given)
        else:
            yield problem(given.start, (DEFAULTS, key), unknown_key(key, singulars))


def _section_defaults(whole: Node, section: Section, given: Node) -> Iterator[Problem]:
    keys: Keys = (DEFAULTS, section.singular)
    if not isinstance(given.value, dict):
        yield problem(given.start, keys, not_a_mapping(given))
    common, any_model = section.common_fields(), next(iter(section.kinds.values()))
    shared = {key: node for key, node in given.entries.items() if key in common}
    yield from _fields(whole, any_model, keys, given.with_entries(shared))
    for key, node in given.entries.items():
        if section.has_kinds and key in section.kinds:
            yield from _fields(whole, section.kinds[key], (*keys, key), node)
        elif key not in common:
            yield problem(node.start, (*keys, key), no_common_field(section, key))


def _fields(whole: Node, model: type[Model], keys: Keys, given: Node) -> Iterator[Problem]:
    """Yield what is wrong with some fields of an item; that others are missing is right here."""
    if not isinstance(given.value, dict):
        yield problem(given.start, keys, not_a_mapping(given))
        return
    try:
        model.model_validate(plain(given))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "missing":
                way = (*keys, *_keys(detail["loc"]))
                yield _problem(whole, way, _nested(model, detail["loc"]), detail)


def _keys(loc: tuple[Key, ...]) -> Keys:
    """Return an error's location as keys of the tree, without what pydantic puts in between."""
    keys = loc[:-1] if loc[-1] == "[key]" else loc
    section = sections().get(str(keys[0]))
    if section and section.has_kinds and len(keys) > 2 and keys[2] in section.kinds:
        return (*keys[:2], *keys[3:])
    return keys


def _holder(whole: Node, keys: Keys) -> type[Model] | None:
    """Return the model that has, or should have, the last key."""
    section = sections().get(str(keys[0]))
    item = at(whole, *keys[:2])
    if section is None or len(keys) < 3 or item is None:
        return Policy if len(keys) == 1 else None
    return _nested(section.model_of(item), keys[2:])


def _nested(model: type[Model] | None, keys: Keys) -> type[Model] | None:
    for key in keys[:-1]:
        if model is not None and isinstance(key, str):
            model = nested_model(model, key) or model
    return model


def _problem(whole: Node, keys: Keys, holder: type[Model] | None, detail: ErrorDetails) -> Problem:
    node, above = at(whole, *keys), at(whole, *keys[:-1])
    section = sections().get(str(keys[0]))
    about_key = detail["loc"][-1] == "[key]" or detail["type"] in _ABOUT_KEY
    fault = Fault(
        error=detail["type"],
        message=detail["msg"],
        node=node or above or whole,
        key=keys[-1],
        holder=holder,
        kinds=tuple(section.kinds) if section else (),
    )
    place = fault.node.start if about_key or node is None else fault.node.place
    return problem(place, keys, what_is_wrong(fault))
