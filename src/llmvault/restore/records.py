"""Loading a records capture into a fresh store of any kind, and proving that it is all there."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmvault.core.errors import IntegrityError, VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.recovery_points.manifest import unpack_vector
from llmvault.recovery_points.model import Manifest
from llmvault.restore.model import Fetched
from llmvault.sources.interface import ImportsRecords, RecordsTarget
from llmvault.sources.records.capture import search_imported
from llmvault.sources.records.load import Imported, compare_with_capture, import_capture
from llmvault.sources.records.reading import read_capture

_MIN_RECALL = 0.99


@dataclass(frozen=True, slots=True)
class Stores:
    """What makes stores out of records.

    Attributes:
        kinds: every kind of source.
        importer: kind -> what makes stores of it.
        min_recall: golden -> recall that the policy demands of it.
    """

    kinds: Collection[str]
    importer: Callable[[str], ImportsRecords]
    min_recall: Mapping[str, float]


def load_records(
    stores: Stores, importer: ImportsRecords, manifest: Manifest, fetched: Fetched, address: str
) -> tuple[Check, ...]:
    """Make a store at an address and compare it: counts, sampled points, definitions, goldens.

    A store in which something failed is left without what was written.

    Raises:
        RefusedError: when the store is not fresh.
    """
    recorded = manifest.source(fetched.source).observation
    collections = read_capture(fetched.path)
    checks: tuple[Check, ...] = ()
    try:
        with importer.target(address) as target:
            imported = import_capture(target, collections)
            found = compare_with_capture(fetched.source, target, imported, collections, recorded)
            replayed = tuple(_replay(stores, target, imported, manifest, fetched.source))
            checks = (*found, *replayed)
            if any(check.verdict is Verdict.FAILED for check in checks):
                raise _NotAsCapturedError
    except _NotAsCapturedError:
        pass
    except IntegrityError as error:
        checks = (Check("records", fetched.source, Verdict.FAILED, error.diagnostics()),)
    return checks


class _NotAsCapturedError(Exception):
    """Makes a target take back what was written to it."""


def _replay(
    stores: Stores, target: RecordsTarget, imported: Imported, manifest: Manifest, source: str
) -> Iterator[Check]:
    for golden in manifest.goldens:
        if golden.get("kind") == "neighbours" and golden.get("source") == source:
            demanded = stores.min_recall.get(str(golden["name"]), _MIN_RECALL)
            yield _recall(target, imported, golden, source, demanded)


def _recall(
    target: RecordsTarget,
    imported: Imported,
    golden: Mapping[str, Any],
    source: str,
    demanded: float,
) -> Check:
    name = f"golden:{golden['name']}"
    parameters = golden["parameters"]
    recalls = []
    try:
        for record in golden["records"]:
            wanted = set(record["ids"])
            found = search_imported(
                target,
                imported,
                parameters["collection"],
                unpack_vector(record["vector"]),
                parameters["k"],
            )
            if wanted:
                recalls.append(len(wanted & set(found)) / len(wanted))
    except VaultError as error:
        return Check(name, source, Verdict.UNPROVEN, error.diagnostics())
    if not recalls:
        return Check(name, source, Verdict.UNPROVEN, "no neighbours were recorded")
    mean = math.fsum(recalls) / len(recalls)
    verdict = Verdict.PROVEN if mean >= demanded else Verdict.FAILED
    detail = (
        f"recall@{parameters['k']} {mean:.4f} over {len(recalls)} queries "
        f"(at least {demanded:g} demanded)"
    )
    return Check(name, source, verdict, detail)
