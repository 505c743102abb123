"""Telling people what holds and where it comes from. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmvault.core.errors import PolicyError
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.tree import Keys, Origin, Scalar, Value, dotted
from llmvault.policy.wording import did_you_mean

_LONGEST_LINE = 60


@dataclass(frozen=True, slots=True)
class Setting:
    """One effective value.

    Attributes:
        section: e.g. ``sources``; empty for what stands outside sections.
        item: the item's name, e.g. ``minilm``.
        key: where in the item, e.g. ``models[0].repo``.
        path: the whole way, e.g. ``sources.minilm.models[0].repo``.
        value: a scalar, or a list of scalars.
    """

    section: str
    item: str
    key: str
    path: str
    value: Scalar | list[Scalar]
    origin: Origin

    def text(self) -> str:
        """Return the value for people."""
        if self.value is None:
            return "not set"
        if isinstance(self.value, list):
            return ", ".join(map(str, self.value)) or "none"
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; file, line and column are null for a built-in default."""
        place = self.origin.place
        return {
            "path": self.path,
            "value": self.value,
            "origin": {
                "layer": self.origin.layer.value,
                "file": str(place.file) if place else None,
                "line": place.line if place else None,
                "column": place.column if place else None,
                "variables": list(self.origin.variables),
            },
        }


def describe(loaded: LoadedPolicy, selector: str = "") -> tuple[Setting, ...]:
    """Return the settings of everything, of a section, or of one item (``SECTION.NAME``).

    Raises:
        PolicyError: when there is no such section or item.
    """
    wanted = _selected(loaded, selector)
    return tuple(
        Setting(
            section=str(keys[0]) if len(keys) > 1 else "",
            item=str(keys[1]) if len(keys) > 1 else "",
            key=dotted(keys[2:]),
            path=dotted(keys),
            value=value,
            origin=loaded.origin(*keys),
        )
        for keys, value in _leaves(dict(loaded.values))
        if keys[: len(wanted)] == wanted
    )


def _selected(loaded: LoadedPolicy, selector: str) -> Keys:
    section, _, name = selector.partition(".")
    if not selector:
        return ()
    known = loaded.values.get(section)
    if not isinstance(known, dict):
        sections = [key for key, value in loaded.values.items() if isinstance(value, dict)]
        raise PolicyError(f'section "{section}"', "is none", did_you_mean(section, sections))
    if not name:
        return (section,)
    if name not in known:
        raise PolicyError(f'"{name}"', f"is not in {section}", did_you_mean(name, known))
    return (section, name)


def _leaves(value: Value, keys: Keys = ()) -> Iterator[tuple[Keys, Scalar | list[Scalar]]]:
    """Yield every scalar; a short list of scalars is one value, a long one a value per element."""
    if isinstance(value, dict) and (value or len(keys) < 2):
        for key, child in value.items():
            yield from _leaves(child, (*keys, key))
    elif isinstance(value, dict):
        yield keys, []
    elif isinstance(value, list):
        scalars = [one for one in value if not isinstance(one, dict | list)]
        if len(scalars) == len(value) and sum(len(str(one)) for one in scalars) <= _LONGEST_LINE:
            yield keys, scalars
            return
        for index, child in enumerate(value):
            yield from _leaves(child, (*keys, index))
    else:
        yield keys, value
