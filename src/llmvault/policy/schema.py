"""JSON Schema (draft 2020-12) of one policy file, for editors and other programs.

It is made from the models, and describes a file rather than a policy: every section may be in
another file, and what an item lacks may come from ``defaults``. Only the loader sees the whole, so
a file that fits the schema can still be refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from llmvault.policy.model import Policy
from llmvault.policy.shape import DEFAULTS, Section, sections

JsonSchema = dict[str, Any]
_VARIABLE = "Variable"
_REQUIRED = "required, here or in defaults"


def policy_schema() -> JsonSchema:
    """Return the schema of a policy file."""
    whole = Policy.model_json_schema()
    definitions = {
        name: _definition(name, definition) for name, definition in whole["$defs"].items()
    }
    properties = {key: _without_title(value) for key, value in whole["properties"].items()}
    for section in sections().values():
        properties[section.name] |= _items(section) | {"type": ["object", "null"]}
    properties[DEFAULTS] = _defaults(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmvault policy file",
        "description": "One file of a policy directory; all files together are the policy.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": {**definitions, _VARIABLE: _variable()},
    }


def schema_text() -> str:
    """Return the schema as it is written to ``policies/schema.json``."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


def _variable() -> JsonSchema:
    return {
        "title": "Environment variable",
        "description": "${NAME} or ${NAME:-default}",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    }


def _definition(name: str, definition: JsonSchema) -> JsonSchema:
    required = set(definition.pop("required", ())) - {"kind"}
    properties = {
        key: _field(value, required=key in required)
        for key, value in definition["properties"].items()
    }
    return {
        "title": _title(name),
        **{key: value for key, value in definition.items() if key != "title"},
        "properties": properties,
    }


def _title(name: str) -> str:
    for section in sections().values():
        for kind, model in section.kinds.items():
            if model.__name__ == name:
                return f"{section.singular} {kind}".strip()
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _field(schema: JsonSchema, *, required: bool) -> JsonSchema:
    schema = _without_title(schema)
    if required:
        meaning = schema.get("description")
        schema["description"] = f"{meaning} ({_REQUIRED})" if meaning else _REQUIRED
    return schema


def _without_title(schema: JsonSchema) -> JsonSchema:
    """Return a field's schema without generated titles, open to environment variables."""
    schema = {key: value for key, value in schema.items() if key not in ("title", "format")}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _without_title(schema[key])
    if "anyOf" in schema:
        schema["anyOf"] = [part for one in schema["anyOf"] for part in _alternatives(one)]
        return schema
    described: JsonSchema = {
        key: schema.pop(key) for key in ("description", "default") if key in schema
    }
    parts = list(_alternatives(schema))
    return {**described, **(parts[0] if len(parts) == 1 else {"anyOf": parts})}


def _alternatives(schema: JsonSchema) -> Iterator[JsonSchema]:
    yield {key: value for key, value in schema.items() if key != "format"}
    narrow = {"enum", "pattern"} & schema.keys()
    if narrow or schema.get("type") in ("integer", "number", "boolean"):
        yield {"$ref": f"#/$defs/{_VARIABLE}"}


def _items(section: Section) -> JsonSchema:
    references = {
        kind: {"$ref": f"#/$defs/{model.__name__}"} for kind, model in section.kinds.items()
    }
    item: JsonSchema = references[""] if not section.has_kinds else _by_kind(section, references)
    [pattern] = Policy.model_json_schema()["properties"][section.name]["patternProperties"]
    return {"patternProperties": {pattern: item}, "additionalProperties": False}


def _by_kind(section: Section, references: dict[str, JsonSchema]) -> JsonSchema:
    return {
        "type": "object",
        "properties": {"kind": {"enum": list(section.kinds)}},
        "required": ["kind"],
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": then}
            for kind, then in references.items()
        ],
    }


def _defaults(definitions: dict[str, JsonSchema]) -> JsonSchema:
    return {
        "description": "Values for items that do not give them; an item's own values win.",
        "type": "object",
        "properties": {
            section.singular: _section_defaults(section, definitions)
            for section in sections().values()
        },
        "additionalProperties": False,
    }


def _section_defaults(section: Section, definitions: dict[str, JsonSchema]) -> JsonSchema:
    models = [model.__name__ for model in section.kinds.values()]
    if not section.has_kinds:
        return {"description": f"For every {section.singular}.", "$ref": f"#/$defs/{models[0]}"}
    fields = definitions[models[0]]["properties"]
    kinds = {
        kind: {
            "description": f"For every {section.singular} of kind {kind}.",
            "$ref": f"#/$defs/{model.__name__}",
        }
        for kind, model in section.kinds.items()
    }
    return {
        "description": f"For every {section.singular}, and by kind.",
        "type": "object",
        "properties": {key: fields[key] for key in fields if key in section.common_fields()}
        | kinds,
        "additionalProperties": False,
    }
