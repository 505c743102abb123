"""The shape of a policy, read off the models: sections, kinds, and which fields hold what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args, get_origin

from llmvault.policy.fields import Model
from llmvault.policy.model import Policy
from llmvault.policy.tree import Node

DEFAULTS = "defaults"
_SINGULARS = {"people": "person", "retention": "retention", "notify": "target"}


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a policy.

    Attributes:
        name: as in the files, e.g. ``sources``.
        singular: as below ``defaults``, e.g. ``source``.
        kinds: model of an item by its ``kind``; a single entry with an empty key where items have
            no kind.
    """

    name: str
    singular: str
    kinds: Mapping[str, type[Model]]

    @property
    def has_kinds(self) -> bool:
        """Whether an item says its kind."""
        return "" not in self.kinds

    def kind_of(self, item: Node) -> str | None:
        """Return which of `kinds` an item is of, or None when it does not say or is of another."""
        if not self.has_kinds:
            return ""
        kind = item.entries.get("kind")
        said = kind.value if kind and isinstance(kind.value, str) else None
        return said if said in self.kinds else None

    def model_of(self, item: Node) -> type[Model] | None:
        """Return the model of an item, or None when its kind is missing or unknown."""
        kind = self.kind_of(item)
        return None if kind is None else self.kinds[kind]

    def common_fields(self) -> frozenset[str]:
        """Return the fields that an item of any kind has, ``kind`` itself left out."""
        fields = [frozenset(model.model_fields) for model in self.kinds.values()]
        return frozenset.intersection(*fields) - {"kind"}


@cache
def sections() -> Mapping[str, Section]:
    """Return every section by name."""
    found = {}
    for name, info in Policy.model_fields.items():
        arguments = get_args(info.annotation)
        if get_origin(info.annotation) is dict:
            regular = name.removesuffix("ies") + "y" if name.endswith("ies") else name[:-1]
            singular = _SINGULARS.get(name, regular)
            models = [leaf for leaf in leaf_types(arguments[1]) if issubclass(leaf, Model)]
            found[name] = Section(name, singular, {_kind(model): model for model in models})
    return found


def leaf_types(annotation: object) -> Iterator[type]:
    """Yield the classes that an annotation is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from leaf_types(argument)


@cache
def field_types(model: type[Model], field: str) -> frozenset[type]:
    """Return the classes that a field's annotation is made of; nothing for an unknown field."""
    info = model.model_fields.get(field)
    return frozenset(leaf_types(info.annotation)) if info else frozenset()


def nested_model(model: type[Model], field: str) -> type[Model] | None:
    """Return the model of what is in a field, when that is an object or a list of objects."""
    models = [leaf for leaf in field_types(model, field) if issubclass(leaf, Model)]
    return models[0] if models else None


def _kind(model: type[Model]) -> str:
    info = model.model_fields.get("kind")
    return str(get_args(info.annotation)[0]) if info else ""
