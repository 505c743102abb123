"""Policy files as trees in which every value knows where it was written.

Files become trees (``load``), trees are laid over each other (``merge``), relative paths are made
absolute (``resolve``), and only then does the result become a ``Policy``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_-]+")
Scalar = str | int | float | bool | None
Value = Scalar | dict[str, "Value"] | list["Value"]
Key = str | int
Keys = tuple[Key, ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was written; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Layer(StrEnum):
    """Which layer of the policy a value comes from; later layers win."""

    BUILT_IN = "built-in default"
    DEFAULTS = "defaults"
    ITEM = "item"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an effective value comes from.

    Attributes:
        place: None for a built-in default.
        variables: environment variables that were put into the value.
    """

    layer: Layer
    place: Place | None = None
    variables: tuple[str, ...] = ()

    def describe(self, directory: Path) -> str:
        """Return the origin for people; files are named relative to the policy directory."""
        if self.place is None:
            return self.layer.value
        text = f"{relative_name(self.place.file, directory)}:{self.place.line}"
        if self.layer is not Layer.ITEM:
            text += f" ({self.layer.value})"
        return text + "".join(f" ${name}" for name in self.variables)


@dataclass(frozen=True, slots=True)
class Node:
    """One value in a policy file. A mapping's entries are nodes, and so are a list's.

    Attributes:
        place: where the value begins.
        key_place: where its key begins; None in lists and at the root.
        raw: the text before environment variables were put in; empty when there were none.
    """

    value: Scalar | dict[str, Node] | list[Node]
    place: Place
    key_place: Place | None = None
    layer: Layer = Layer.ITEM
    variables: tuple[str, ...] = ()
    raw: str = ""

    @property
    def entries(self) -> dict[str, Node]:
        """The entries of a mapping; nothing for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def elements(self) -> list[Node]:
        """The elements of a list; nothing for anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def start(self) -> Place:
        """Where a reader finds it: at its key if it has one."""
        return self.key_place or self.place

    def children(self) -> Iterator[tuple[Key, Node]]:
        """Yield what is directly below, with key or index."""
        yield from self.entries.items()
        yield from enumerate(self.elements)

    def with_entries(self, entries: dict[str, Node]) -> Node:
        """Return this mapping with other entries."""
        return replace(self, value=entries)


def plain(node: Node) -> Scalar | dict[str, object] | list[object]:
    """Return the bare values of a tree."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def walk(node: Node, keys: Keys = ()) -> Iterator[tuple[Keys, Node]]:
    """Yield a node and everything below it, each with the keys that lead there."""
    yield keys, node
    for key, child in node.children():
        yield from walk(child, (*keys, key))


def at(node: Node, *keys: Key) -> Node | None:
    """Return what the keys lead to, or None."""
    found: Node | None = node
    for key in keys:
        found = dict(found.children()).get(key) if found else None
    return found


def dotted(keys: Keys) -> str:
    """Return keys as people write them: ``plans.nightly.sources[0]``; odd names are quoted."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif not _SIMPLE_KEY.fullmatch(key):
            text += f'["{key}"]'
        else:
            text += f".{key}" if text else key
    return text


def relative_name(file: Path, directory: Path) -> str:
    """Return a file's name relative to the policy directory, or its full path elsewhere."""
    return str(file.relative_to(directory)) if file.is_relative_to(directory) else str(file)
