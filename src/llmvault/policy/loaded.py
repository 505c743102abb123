"""A policy as read: what holds, where each value comes from, and a digest that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from llmvault.core.canonical import digest
from llmvault.policy.model import Policy
from llmvault.policy.secrecy import public
from llmvault.policy.tree import Keys, Layer, Node, Origin, Value, dotted, walk

_BUILT_IN = Origin(Layer.BUILT_IN)


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """What the files of a policy directory say together.

    Attributes:
        origins: where each effective value comes from, by path: ``sources.minilm.path``,
            ``sources.minilm.models[0].revision``, ``sources["llama-3.1"].path``. Items and other
            mappings have an origin too.
        digest: SHA-256 of the canonical JSON of `values`.
        directory: the policy directory, without symbolic links.
        values: everything that holds, defaults included, as JSON values; secrets that can be
            recognised are hidden.
    """

    policy: Policy
    origins: Mapping[str, Origin]
    digest: str
    directory: Path
    files: tuple[Path, ...]
    values: Mapping[str, Value] = field(repr=False)

    @classmethod
    def of(cls, policy: Policy, whole: Node, directory: Path, files: tuple[Path, ...]) -> Self:
        """Return a policy with the origins that its tree tells."""
        values = cast("dict[str, Value]", public(policy.model_dump(mode="json")))
        written = {
            dotted(keys): Origin(node.layer, node.start, node.variables)
            for keys, node in walk(whole)
        }
        origins = {
            path: written.get(path, _BUILT_IN) for path in (dotted(keys) for keys in paths(values))
        }
        return cls(policy, origins, digest(values), directory, files, values)

    def origin(self, *keys: str | int) -> Origin:
        """Return where a value comes from."""
        return self.origins[dotted(keys)]


def paths(value: Value, keys: Keys = ()) -> Iterator[Keys]:
    """Yield the keys that lead to every value below one, mappings and lists included."""
    if keys:
        yield keys
    if isinstance(value, dict):
        for key, child in value.items():
            yield from paths(child, (*keys, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from paths(child, (*keys, index))
