"""The control map: frameworks and the evidence that answers each of their demands.

One JSON file per framework lies in the package; it is read when it is asked for.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from llmvault.core.errors import PolicyError
from llmvault.evidence.model import Control, Framework

_FOLDER = "control_map"


@cache
def framework_names() -> tuple[str, ...]:
    """Return the names of all frameworks, sorted."""
    folder = files("llmvault.evidence").joinpath(_FOLDER)
    names = [file.name.removesuffix(".json") for file in folder.iterdir()]
    return tuple(sorted(names))


@cache
def framework(name: str) -> Framework:
    """Return a framework.

    Raises:
        PolicyError: when there is none of that name.
    """
    if name not in framework_names():
        raise PolicyError(
            f'framework "{name}"', "there is none of that name", ", ".join(framework_names())
        )
    file = files("llmvault.evidence").joinpath(_FOLDER, f"{name}.json")
    raw = json.loads(file.read_text(encoding="utf-8"))
    controls = tuple(
        Control(
            framework=name,
            id=row["id"],
            demand=row["demand"],
            answers=tuple(row["answers"]),
            wording=row["wording"],
            source=row["source"],
        )
        for row in raw["controls"]
    )
    return Framework(name, raw["title"], raw["source"], controls)
