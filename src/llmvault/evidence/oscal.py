"""OSCAL assessment results of what was found, and the minimal plan that they must name. Pure.

https://pages.nist.gov/OSCAL/reference/latest/assessment-results/json-outline/

An observation is the newest evidence of a kind about a thing; stale evidence makes every finding
that rests on it ``not-satisfied``. Identifiers are derived from the content, so the same evidence
gives the same bytes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from llmvault.core.units import format_time
from llmvault.evidence.findings import newest_by_thing
from llmvault.evidence.kinds import BY_NAME
from llmvault.evidence.model import Finding, Framework, Statement
from llmvault.evidence.observed import Observed

OSCAL_VERSION = "1.2.0"
PLAN = "oscal/assessment-plan.json"
RESULTS = "oscal/assessment-results.json"
_SPACE = uuid.UUID("8f0a1c53-6f4e-5b7e-9f06-1f1b0a6f7a11")
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_-]+")
_NAMESPACE = "urn:llmvault:oscal"


def documents(
    seen: Observed,
    frameworks: Sequence[Framework],
    statements: Sequence[Statement],
    found: Sequence[Finding],
    digests: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Return file name -> OSCAL document.

    Args:
        digests: file of the bundle -> SHA-256, of the files that hold the evidence.
    """
    context = _Context(seen, digests)
    return {
        PLAN: {"assessment-plan": _plan(context, frameworks)},
        RESULTS: {"assessment-results": _results(context, frameworks, statements, found)},
    }


class _Context:
    """What identifiers and headings are made from."""

    def __init__(self, seen: Observed, digests: Mapping[str, str]) -> None:
        self.seen, self.digests = seen, digests
        self._seed = f"{seen.policy.digest} {format_time(seen.generated)}"

    def uuid(self, *parts: str) -> str:
        return str(uuid.uuid5(_SPACE, "\n".join((self._seed, *parts))))

    def metadata(self, title: str) -> dict[str, Any]:
        return {
            "title": title,
            "last-modified": format_time(self.seen.generated),
            "version": self.seen.version,
            "oscal-version": OSCAL_VERSION,
        }


def _plan(context: _Context, frameworks: Sequence[Framework]) -> dict[str, Any]:
    operator = context.uuid("system security plan")
    return {
        "uuid": context.uuid("plan"),
        "metadata": context.metadata("Continuous assessment of backups, recovery and retention"),
        "import-ssp": {"href": f"#{operator}"},
        "reviewed-controls": _reviewed(frameworks),
        "back-matter": {
            "resources": [
                {
                    "uuid": operator,
                    "title": "System security plan",
                    "description": "It is kept by the operator, and is no part of this bundle.",
                }
            ]
        },
    }


def _results(
    context: _Context,
    frameworks: Sequence[Framework],
    statements: Sequence[Statement],
    found: Sequence[Finding],
) -> dict[str, Any]:
    newest = sorted(newest_by_thing(statements).values(), key=lambda one: (one.kind, one.about))
    observed = {
        (one.kind, one.run): context.uuid("observation", one.kind, one.run) for one in newest
    }
    files = {one.kind: f"statements/{one.kind}.intoto.jsonl" for one in newest}
    result: dict[str, Any] = {
        "uuid": context.uuid("result"),
        "title": "What the evidence of the period shows",
        "description": "Evidence relevant to the controls reviewed: what was proven, what failed, "
        "what is unproven or stale. It is no statement of compliance.",
        "start": format_time(context.seen.period.begin),
        "end": format_time(context.seen.period.end),
        "reviewed-controls": _reviewed(frameworks),
    }
    if newest:
        result["observations"] = [
            _observation(context, one, observed, files[one.kind]) for one in newest
        ]
    if found:
        result["findings"] = [_finding(context, one, observed) for one in found]
    return {
        "uuid": context.uuid("results"),
        "metadata": context.metadata("Backups, recovery and retention: assessment results"),
        "import-ap": {"href": f"#{context.uuid('plan resource')}"},
        "results": [result],
        "back-matter": {"resources": _resources(context, sorted(set(files.values())))},
    }


def _reviewed(frameworks: Sequence[Framework]) -> dict[str, Any]:
    selections = [
        {
            "description": framework.title,
            "include-controls": [
                {"control-id": token(framework.name, control.id)} for control in framework.controls
            ],
        }
        for framework in frameworks
    ]
    return {"control-selections": selections}


def _observation(
    context: _Context, one: Statement, observed: Mapping[tuple[str, str], str], file: str
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "uuid": observed[one.kind, one.run],
        "title": f"{BY_NAME[one.kind].title}: {one.about}",
        "description": f"{one.run}: {one.verdict}" + (f", {one.reason}" if one.reason else ""),
        "props": [{"name": "verdict", "ns": _NAMESPACE, "value": one.verdict.value}],
        "methods": ["TEST" if BY_NAME[one.kind].tested else "EXAMINE"],
        "collected": format_time(one.collected),
        "relevant-evidence": [
            {
                "href": f"#{context.uuid('resource', file)}",
                "description": f"the statement about {one.run}",
            }
        ],
    }
    if one.expires is not None:
        told["expires"] = format_time(one.expires)
    return told


def _finding(
    context: _Context, one: Finding, observed: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    control = token(one.control.framework, one.control.id)
    told: dict[str, Any] = {
        "uuid": context.uuid("finding", control),
        "title": f"{one.control.framework} {one.control.id}: {one.control.demand}",
        "description": "; ".join(one.reasons)
        or "every kind of evidence that answers it is there, proven and current",
        "target": {
            "type": "objective-id",
            "target-id": control,
            "status": {"state": "satisfied" if one.satisfied else "not-satisfied"},
        },
    }
    related = [observed[run] for run in one.statements if run in observed]
    if related:
        told["related-observations"] = [{"observation-uuid": found} for found in related]
    return told


def _resources(context: _Context, files: Sequence[str]) -> list[dict[str, Any]]:
    resources = [
        {
            "uuid": context.uuid("plan resource"),
            "title": "Assessment plan",
            "rlinks": [{"href": PLAN.partition("/")[2], "media-type": "application/json"}],
        }
    ]
    return resources + [_resource(context, file) for file in files]


def _resource(context: _Context, file: str) -> dict[str, Any]:
    return {
        "uuid": context.uuid("resource", file),
        "title": f"Signed statements: {file}",
        "rlinks": [
            {
                "href": f"../{file}",
                "media-type": "application/vnd.in-toto.bundle",
                "hashes": [{"algorithm": "SHA-256", "value": context.digests[file]}],
            }
        ],
    }


def token(framework: str, control: str) -> str:
    """Return a control's id as an OSCAL token: ``dora-12-2``."""
    return f"{framework}-{_NOT_TOKEN.sub('-', control).strip('-')}".lower()
