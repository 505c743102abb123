"""Laying policy trees over each other: built-in default < defaults < item < overrides.d. Pure.

Mappings merge key by key; everything else, lists included, is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmvault.policy.problems import Problem, problem
from llmvault.policy.shape import DEFAULTS, Section, sections
from llmvault.policy.tree import Keys, Layer, Node

_LEVELS_OF_ITEMS = 1
_LEVELS_OF_DEFAULTS = 3


def joined(files: Iterable[Node], problems: list[Problem]) -> Node | None:
    """Return the files' sections side by side, with the override files laid over them in order.

    A name that two files declare is a problem; the first one stays.
    """
    whole: Node | None = None
    for tree in files:
        if whole is None:
            whole = tree
        elif tree.layer is Layer.OVERRIDE:
            whole = overlay(whole, tree)
        else:
            whole = _side_by_side(whole, tree, (), problems)
    return whole


def _side_by_side(first: Node, second: Node, keys: Keys, problems: list[Problem]) -> Node:
    entries = dict(first.entries)
    for key, node in second.entries.items():
        there = entries.get(key)
        if there is None:
            entries[key] = node
        elif _may_continue((*keys, key), there, node):
            entries[key] = _side_by_side(there, node, (*keys, key), problems)
        elif there.value != node.value or keys:
            message = f"is declared twice; the other is at {there.start}. Rename or remove one"
            problems.append(problem(node.start, (*keys, key), message))
    return first.with_entries(entries)


def _may_continue(keys: Keys, first: Node, second: Node) -> bool:
    levels = _LEVELS_OF_DEFAULTS if keys[0] == DEFAULTS else _LEVELS_OF_ITEMS
    mappings = isinstance(first.value, dict) and isinstance(second.value, dict)
    return len(keys) <= levels and mappings


def overlay(lower: Node, upper: Node) -> Node:
    """Return `upper` with what only `lower` has below it."""
    if not isinstance(lower.value, dict) or not isinstance(upper.value, dict):
        return upper
    entries = dict(lower.value)
    for key, node in upper.value.items():
        entries[key] = overlay(entries[key], node) if key in entries else node
    return replace(
        upper, value=entries, place=lower.place, key_place=lower.key_place, layer=lower.layer
    )


def with_defaults(whole: Node) -> Node:
    """Return the policy with the values below ``defaults`` put under every item they are for."""
    entries = {key: node for key, node in whole.entries.items() if key != DEFAULTS}
    defaults = whole.entries.get(DEFAULTS)
    if defaults is None:
        return whole
    for section in sections().values():
        declared = entries.get(section.name)
        given = defaults.entries.get(section.singular)
        if declared is not None and given is not None:
            items = {
                name: _under(item, *default_layers(section, given, item))
                for name, item in declared.entries.items()
            }
            entries[section.name] = declared.with_entries(items) if items else declared
    return whole.with_entries(entries)


def default_layers(section: Section, given: Node, item: Node) -> tuple[Node, ...]:
    """Return what ``defaults`` gives an item: first for its kind, then for every kind."""
    common = {key: node for key, node in given.entries.items() if key not in section.kinds}
    layers = [given.with_entries(common)]
    kind = section.kind_of(item)
    if kind:
        layers[:0] = [node for key, node in given.entries.items() if key == kind]
    return tuple(_labelled(layer) for layer in layers)


def _under(item: Node, *layers: Node) -> Node:
    if not isinstance(item.value, dict):
        return item
    entries = dict(item.value)
    for layer in layers:
        for key, node in layer.entries.items():
            entries[key] = overlay(node, entries[key]) if key in entries else node
    return item.with_entries(entries)


def _labelled(node: Node) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {key: _labelled(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_labelled(child) for child in value]
    return replace(node, value=value, layer=Layer.DEFAULTS)
