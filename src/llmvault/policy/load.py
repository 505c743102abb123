"""Reading policy files: the only module that knows YAML.

A policy directory holds ``*.yaml`` files, and ``overrides.d/*.yaml`` for what differs on one host.
Scalars follow the YAML 1.2 core schema, so ``off``, ``yes`` and ``12:30`` are text, and a number
of more than 25 characters is text too: a commit of forty digits stays a commit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from llmvault.core.files import write_durably
from llmvault.policy.check import check_defaults, checked
from llmvault.policy.interpolate import interpolate
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.merge import joined, with_defaults
from llmvault.policy.problems import PolicyFilesError, Problem, file_problem, problem
from llmvault.policy.references import reference_problems
from llmvault.policy.resolve import resolved
from llmvault.policy.tree import Keys, Layer, Node, Place, Scalar
from llmvault.policy.wording import not_a_mapping

OVERRIDES = "overrides.d"
_ORIGIN = ".origin"
_DEEPEST = 64
_MOST_VALUES = 100_000
_EXCESS = f"is nested deeper than {_DEEPEST} levels or holds too many values"
_LONGEST_NUMBER = 25
_MERGE = "<<"
_ENDS_OF_NUMBERS = frozenset("0123456789abcdefABCDEF.")
_TAGS_UNDERSTOOD = (None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq")))
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HINTS = {
    "mapping values are not allowed in this context": "; quote a value that holds a colon",
    "found character that cannot start any token": "; quote a value that begins with it",
    "did not find expected ',' or ']'": '; close the list, and quote values such as "${NAME}"',
    "did not find expected ',' or '}'": '; close the mapping, and quote values such as "${NAME}"',
    "did not find expected key": "; check the indentation of this line and the one before",
    "found unexpected end of stream": "; a quote is not closed",
}
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?"), float),
)


def load_policy(directory: Path, environment: Mapping[str, str]) -> LoadedPolicy:
    """Return what the files of a policy directory say together.

    Args:
        environment: variables for ``${NAME}`` in the files.

    Raises:
        PolicyFilesError: with every problem of every file at once.
    """
    place = directory.resolve()
    root = original_of(place)
    problems: list[Problem] = []
    files = tuple(_files(place, problems))
    trees = [
        _read(file, root / file.relative_to(place), layer, environment, problems)
        for file, layer in files
    ]
    whole = joined([tree for tree in trees if tree is not None], problems)
    if whole is None:
        raise PolicyFilesError(root, problems)
    problems.extend(check_defaults(whole))
    whole = resolved(with_defaults(whole))
    policy = checked(whole, problems)
    if None not in trees:  # else names that were declared in an unreadable file would seem unknown
        problems.extend(reference_problems(whole))
    if policy is None or problems:
        raise PolicyFilesError(root, problems)
    read = tuple(root / file.relative_to(place) for file, _ in files)
    return LoadedPolicy.of(policy, whole, root, read)


def original_of(directory: Path) -> Path:
    """Return the directory that a copy made by :func:`copy_policy` stands for, or itself."""
    try:
        return Path((directory / _ORIGIN).read_text(encoding="utf-8"))
    except OSError:
        return directory


def copy_policy(loaded: LoadedPolicy, into: Path) -> Path:
    """Copy the files of a policy, so that it stays what it is while the files are edited.

    Relative paths in the copy, and messages about it, still speak of the original's directory.
    Returns a directory below `into` that is named by the policy's digest.
    """
    copy = into / loaded.digest
    for file in loaded.files:
        write_durably(copy / file.relative_to(loaded.directory), file.read_bytes())
    write_durably(copy / _ORIGIN, str(loaded.directory).encode())
    return copy


def _files(root: Path, problems: list[Problem]) -> Iterator[tuple[Path, Layer]]:
    """Yield the files to read, in order: later ones may override."""
    if not root.is_dir():
        message = "is no directory; name one with --policies DIR or LLMVAULT_POLICIES"
        problems.append(file_problem(root, message))
        return
    names = list(_names(root, problems))
    if not names:
        problems.append(file_problem(root, "has no *.yaml files; write one"))
    yield from ((file, Layer.ITEM) for file in names)
    overrides = root / OVERRIDES
    if overrides.is_dir():
        yield from ((file, Layer.OVERRIDE) for file in _names(overrides, problems))


def _names(directory: Path, problems: list[Problem]) -> Iterator[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        problems.append(file_problem(directory, f"cannot be read: {error.strerror}"))
        return
    for file in entries:
        if file.name.startswith("."):
            continue
        if file.suffix == ".yaml":
            yield file
        elif file.suffix == ".yml":
            problems.append(file_problem(file, "is not read; rename it to end in .yaml"))


def _read(
    stored: Path,
    file: Path,
    layer: Layer,
    environment: Mapping[str, str],
    problems: list[Problem],
) -> Node | None:
    """Return the tree of a file that is stored elsewhere or there, or None after adding why not."""
    try:
        data = stored.read_bytes() if stored.is_file() else None
    except OSError as error:
        problems.append(file_problem(file, f"cannot be read: {error.strerror}"))
        return None
    if data is None:
        problems.append(file_problem(file, "is no regular file; move it away"))
        return None
    try:
        text = data.decode("utf-8-sig")
        return _Reader(file, text, layer, environment, problems).document()
    except UnicodeDecodeError as error:
        problems.append(problem(_place_in(file, data, error.start), (), "is not UTF-8 text here"))
    except yaml.reader.ReaderError as error:
        place = _place_in(file, data, error.position)
        problems.append(problem(place, (), f"{error.reason}; remove the character"))
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(file, text, error))
    except _UnreadableError as error:
        problems.append(error.problem)
    return None


def _place_in(file: Path, data: bytes, position: int) -> Place:
    before = data[:position]
    return Place(file, before.count(b"\n") + 1, position - (before.rfind(b"\n") + 1) + 1)


def _syntax_problem(file: Path, text: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.split("\n")
    seen = lines[line][column : column + 1] if line < len(lines) else ""
    if seen == "\t" or "tab" in (error.problem or ""):
        message = "a tab; YAML is indented with spaces only, replace it by spaces"
    elif "nesting depth" in (error.problem or ""):  # libyaml's own limit, met while it reads ahead
        message = _EXCESS
    else:
        message = f"{error.problem or 'is no YAML'}{_HINTS.get(error.problem or '', '')}"
    return problem(Place(file, line + 1, column + 1), (), message)


class _UnreadableError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Reader:
    """Builds the tree of one document from parser events; keeps places, refuses what misleads."""

    def __init__(
        self,
        file: Path,
        text: str,
        layer: Layer,
        environment: Mapping[str, str],
        problems: list[Problem],
    ) -> None:
        self._file = file
        self._layer = layer
        self._environment = environment
        self._problems = problems
        self._parser = _Loader(text)
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._values = 0

    def document(self) -> Node:
        """Return the document's mapping; an empty mapping for an empty file.

        Raises:
            yaml.YAMLError: when it is no YAML.
            _UnreadableError: when it is no mapping, too deep or too large.
        """
        try:
            self._parser.get_event()
            start = self._parser.get_event()
            if isinstance(start, yaml.StreamEndEvent):
                return Node({}, Place(self._file, 1, 1), layer=self._layer)
            node = self._node(self._parser.get_event(), ())
            self._parser.get_event()
            self._refuse_second_document()
        finally:
            self._parser.dispose()
        return self._sections(node)

    def _refuse_second_document(self) -> None:
        event = self._parser.get_event()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _UnreadableError(
                problem(self._place(event), (), "a second document begins; write one per file")
            )

    def _sections(self, node: Node) -> Node:
        if node.value is None:
            return replace(node, value={})
        if not isinstance(node.value, dict):
            message = f"the file {not_a_mapping(node)}; begin it with a section such as `sources:`"
            raise _UnreadableError(problem(node.place, (), message))
        return node.with_entries(
            {key: child for key, child in node.value.items() if child.value is not None}
        )

    def _node(self, event: yaml.NodeEvent, keys: Keys, key_place: Place | None = None) -> Node:
        self._values += 1
        self._refuse_excess(event, keys)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, keys, key_place)
        before, place = self._values, self._place(event)
        tag = getattr(event, "tag", None)
        if tag not in _TAGS_UNDERSTOOD:
            self._wrong(event, keys, f"the tag {tag} is not understood; remove it")
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, keys, key_place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node(self._list(keys), place, key_place, self._layer)
        else:
            node = Node(self._mapping(keys), place, key_place, self._layer)
        if event.anchor:
            self._anchors[event.anchor] = (node, self._values - before + 1)
        return node

    def _refuse_excess(self, event: yaml.NodeEvent, keys: Keys) -> None:
        if len(keys) > _DEEPEST or self._values > _MOST_VALUES:
            raise _UnreadableError(problem(self._place(event), (), _EXCESS))

    def _alias(self, event: yaml.AliasEvent, keys: Keys, key_place: Place | None) -> Node:
        if event.anchor not in self._anchors:
            message = f"*{event.anchor} names no anchor before it; define &{event.anchor} first"
            raise _UnreadableError(problem(self._place(event), keys, message))
        node, values = self._anchors[event.anchor]
        self._values += values
        return replace(node, key_place=key_place)

    def _scalar(self, event: yaml.ScalarEvent, keys: Keys, key_place: Place | None) -> Node:
        place = self._place(event)
        value = _plain_value(event.value) if event.implicit[0] else event.value
        if not isinstance(value, str) or "$" not in value:
            return Node(value, place, key_place, self._layer)
        done = interpolate(value, self._environment)
        for message in done.errors:
            self._wrong(event, keys, message)
        raw = value if done.variables else ""
        text = done.text or None if event.implicit[0] else done.text  # as `key:` is null in YAML
        return Node(text, place, key_place, self._layer, done.variables, raw)

    def _list(self, keys: Keys) -> list[Node]:
        nodes: list[Node] = []
        while not isinstance(event := self._parser.get_event(), yaml.SequenceEndEvent):
            nodes.append(self._node(event, (*keys, len(nodes))))
        return nodes

    def _mapping(self, keys: Keys) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: list[Node] = []
        while not isinstance(event := self._parser.get_event(), yaml.MappingEndEvent):
            key, place = self._key(event, keys), self._place(event)
            node = self._node(self._parser.get_event(), (*keys, key), place)
            if key == _MERGE and event.implicit[0]:
                merged.extend(node.elements or [node])
            elif key in entries:
                first = entries[key].start.line
                self._wrong(event, (*keys, key), f"is there twice; the first is on line {first}")
            else:
                entries[key] = node
        for node in merged:
            entries = {**node.entries, **entries}
        return entries

    def _key(self, event: yaml.Event, keys: Keys) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            message = "a key is text; quote it if it begins with { [ * or &"
            raise _UnreadableError(problem(self._place(event), keys, message))
        if event.implicit[0] and not isinstance(_plain_value(event.value), str):
            self._wrong(event, keys, f'the key {event.value} is no text; write "{event.value}"')
        return str(event.value)

    def _wrong(self, event: yaml.Event, keys: Keys, message: str) -> None:
        self._problems.append(problem(self._place(event), keys, message))

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return (
            Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file, 1, 1)
        )


def _plain_value(text: str) -> Scalar:
    """Return what a text without quotes means in the YAML 1.2 core schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if len(text) <= _LONGEST_NUMBER and text[-1] in _ENDS_OF_NUMBERS:
        for pattern, number in _NUMBERS:
            if pattern.fullmatch(text):
                return number(text)
    return text
