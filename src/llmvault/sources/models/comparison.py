"""Comparing restored weights with what the manifest recorded of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import Finding, Observation


def weights_checks(
    source: str,
    recorded: Observation,
    restored: Mapping[str, Any],
    findings: Sequence[Finding],
) -> tuple[Check, ...]:
    """Return whether restored weights are in order and exactly those of the manifest.

    Args:
        source: name of the source.
        recorded: the observation in the manifest, with ``details["weights"]``.
        restored: path -> summary of the restored weights.
        findings: what was wrong with restored files.
    """
    with_header = [path for path in restored if restored[path]["format"] != "pickle"]
    headers = _headers(source, findings, len(with_header))
    inventory = _inventory(source, recorded, restored)
    return (*headers, inventory)


def _headers(source: str, findings: Sequence[Finding], count: int) -> tuple[Check, ...]:
    for severity, verdict in (("failed", Verdict.FAILED), ("unproven", Verdict.UNPROVEN)):
        grave = [found for found in findings if found.severity == severity]
        if grave:
            more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
            detail = f"{grave[0].path}: {grave[0].detail}{more}"
            return (Check("headers", source, verdict, detail),)
    if count == 0:
        return ()
    detail = f"{count} headers agree with their files"
    return (Check("headers", source, Verdict.PROVEN, detail),)


def _inventory(source: str, recorded: Observation, restored: Mapping[str, Any]) -> Check:
    expected = recorded.details.get("weights")
    if not isinstance(expected, Mapping) or not expected:
        detail = "the recovery point records no weights"
        return Check("inventory", source, Verdict.UNPROVEN, detail)
    absent = sorted(set(expected) - set(restored))
    if absent:
        detail = f"{len(absent)} of {len(expected)} weights files are not there, e.g. {absent[0]}"
        return Check("inventory", source, Verdict.FAILED, detail)
    changed = [path for path in sorted(expected) if expected[path] != restored[path]]
    changed += sorted(set(restored) - set(expected))
    if changed:
        detail = f"{len(changed)} weights files differ from the recorded ones, e.g. {changed[0]}"
        return Check("inventory", source, Verdict.FAILED, detail)
    parameters = sum(int(summary.get("parameters", 0)) for summary in restored.values())
    detail = f"{len(restored)} weights files with {parameters:,} parameters are as recorded"
    return Check("inventory", source, Verdict.PROVEN, detail)
