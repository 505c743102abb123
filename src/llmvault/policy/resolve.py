"""Making what a policy says about places independent of where it is read. Pure.

A relative path is relative to the directory of the file that names it. That holds for every field
of type Path, for the ``url`` of a repository that is a local path, for ``file:`` references to
secrets, and for the socket directory in a PostgreSQL URL (``host=./…`` or ``host=../…``).
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_origin

from llmvault.core.secrets import SecretRef
from llmvault.policy.fields import Model, is_local_url
from llmvault.policy.model import Policy
from llmvault.policy.shape import field_types, sections
from llmvault.policy.tree import Node

_SOCKET_DIRECTORY = re.compile(r"(?<=[?&]host=)(\.{1,2}/[^&]*)")


def resolved(whole: Node) -> Node:
    """Return the policy with absolute paths."""
    entries = dict(whole.entries)
    for section in sections().values():
        declared = entries.get(section.name)
        if declared is not None and isinstance(declared.value, dict):
            items = {
                name: _item(item, section.model_of(item)) for name, item in declared.value.items()
            }
            entries[section.name] = declared.with_entries(items)
    for name in Policy.model_fields.keys() - sections().keys() & entries.keys():
        entries[name] = _nested(entries[name], Policy, name)
    return whole.with_entries(entries)


def _nested(node: Node, above: type[Model], field: str) -> Node:
    """Return what is in a field that holds an object, or objects by name; else as it is."""
    models = [leaf for leaf in field_types(above, field) if issubclass(leaf, Model)]
    if not models or not isinstance(node.value, dict):
        return node
    if get_origin(above.model_fields[field].annotation) is dict:
        return node.with_entries({name: _object(one, models) for name, one in node.entries.items()})
    return _object(node, models)


def _object(node: Node, models: Sequence[type[Model]]) -> Node:
    """Return an object whose fields are those of one of the models, or of all by their kind."""
    fields = {}
    for name, child in node.entries.items():
        model = next((one for one in models if name in one.model_fields), models[0])
        change = _change_for(model, name)
        fields[name] = _changed(child, change) if change else _nested(child, model, name)
    return node.with_entries(fields) if isinstance(node.value, dict) else node


def _item(item: Node, model: type[Model] | None) -> Node:
    if model is None or not isinstance(item.value, dict):
        return item
    fields = {}
    for name, node in item.value.items():
        change = _change_for(model, name)
        fields[name] = _changed(node, change) if change else node
    return item.with_entries(fields)


_Change = Callable[[str, Path], str]


def _change_for(model: type[Model], field: str) -> _Change | None:
    types = field_types(model, field)
    if Path in types:
        return absolute
    if SecretRef in types:
        return _secret
    return _url if field == "url" else None


def _changed(node: Node, change: _Change) -> Node:
    if isinstance(node.value, str):
        return replace(node, value=change(node.value, node.place.file))
    if isinstance(node.value, dict):
        return node.with_entries(
            {key: _changed(child, change) for key, child in node.value.items()}
        )
    if isinstance(node.value, list):
        return replace(node, value=[_changed(child, change) for child in node.value])
    return node


def absolute(path: str, file: Path) -> str:
    """Return a path as seen from the directory of a file, without ``..``."""
    if not path or path.startswith(("/", "~")):
        return path
    return os.path.normpath(file.parent / path)


def _secret(reference: str, file: Path) -> str:
    scheme, _, locator = reference.partition(":")
    return f"file:{absolute(locator, file)}" if scheme == "file" and locator else reference


def _url(url: str, file: Path) -> str:
    if url.startswith(("postgresql:", "postgres:")):
        return _SOCKET_DIRECTORY.sub(lambda match: absolute(match[0], file), url)
    local = is_local_url(url)
    return absolute(url.removeprefix("local:"), file) if local else url
