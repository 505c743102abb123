"""Making a store of a records capture, and comparing it with what was captured."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmvault.core.errors import IntegrityError, UnprovenError
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import (
    CollectionFacts,
    Observation,
    Point,
    RecordSet,
    RecordsTarget,
)
from llmvault.sources.records.export import facts_of
from llmvault.sources.records.reading import CapturedCollection
from llmvault.sources.records.rows import encode_point, to_json

_TOLERANCE = 1e-5  # stores that keep a vector as direction and length move its last bits


@dataclass(frozen=True, slots=True)
class Imported:
    """Collections as they are in the target.

    Attributes:
        names: name in the capture -> name in the target.
        left_out: name in the capture -> why the target cannot hold it.
    """

    names: Mapping[str, str]
    left_out: Mapping[str, str]


def import_capture(target: RecordsTarget, collections: Sequence[CapturedCollection]) -> Imported:
    """Make every collection of a capture in a fresh store, with its index settings.

    Raises:
        RefusedError: when the store is not fresh.
        IntegrityError: when the capture is damaged, or a point does not fit its collection.
    """
    names: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for collection in collections:
        try:
            name = target.create(collection.described.records)
        except UnprovenError as error:
            left_out[collection.name] = error.cause
            continue
        target.add(name, collection.points())
        target.finish(name)
        names[collection.name] = name
    return Imported(names, left_out)


def imported_facts(
    target: RecordsTarget, imported: Imported, collection: CapturedCollection, keys: Sequence[str]
) -> CollectionFacts:
    """Return the facts of a collection of the target under its name in the capture."""
    wanted = collection.described.records
    name = imported.names[collection.name]
    found = {one.name: one for one in target.record_sets()}[name]
    here = replace(found, name=wanted.name, exact=wanted.exact and found.exact)
    subject = collection.described.subject_field
    rows = [encode_point(point, here, subject) for point in target.fetch(name, tuple(keys))]
    return facts_of(here, target.count(name), rows)


def compare_with_capture(
    source: str,
    target: RecordsTarget,
    imported: Imported,
    collections: Sequence[CapturedCollection],
    recorded: Observation,
) -> tuple[Check, ...]:
    """Return checks: every collection is there, as many points, sampled points equal, indexes."""
    samples = {facts.name: tuple(facts.sample_digests) for facts in recorded.collections}
    records: list[str] = []
    schema: list[str] = []
    compared = exact = total = 0
    found = {one.name: one for one in target.record_sets()}
    for collection in collections:
        if collection.name not in imported.names:
            continue
        name = imported.names[collection.name]
        wanted = collection.described
        count = target.count(name)
        total += count
        if count != wanted.count:
            records.append(f"{collection.name}: {count} records, captured {wanted.count}")
        schema.extend(_schema_faults(wanted.records, found[name]))
        keys = samples.get(collection.name) or collection.lowest_ids(16)
        same, bits, faults = _compare_points(target, name, collection, keys)
        compared, exact = compared + same, exact + bits
        records.extend(faults)
    checks = [_records_check(source, records, (total, compared, exact), len(imported.names))]
    checks.append(_schema_check(source, schema, len(imported.names)))
    checks.extend(
        Check("records", source, Verdict.UNPROVEN, f"{name} was left out: {why}")
        for name, why in imported.left_out.items()
    )
    return tuple(checks)


def refuse_other_schema(
    target: RecordsTarget, imported: Imported, collections: Sequence[CapturedCollection]
) -> None:
    """Raise unless what was made has the dimensions, distances and indexes that were captured.

    Raises:
        IntegrityError: when it has not.
    """
    found = {one.name: one for one in target.record_sets()}
    for collection in collections:
        if collection.name in imported.names:
            here = found[imported.names[collection.name]]
            for fault in _schema_faults(collection.described.records, here):
                raise IntegrityError("the store made of the records", fault)


def _records_check(
    source: str, faults: Sequence[str], counts: tuple[int, int, int], collections: int
) -> Check:
    total, compared, exact = counts
    if faults:
        return Check("records", source, Verdict.FAILED, "; ".join(faults[:3]))
    if not compared:
        detail = f"{total} records in {collections} collections; none could be compared"
        return Check("records", source, Verdict.UNPROVEN, detail)
    detail = (
        f"{total} records in {collections} collections; {compared} sampled records are as captured"
        f", the vectors of {exact} bit for bit"
    )
    if exact < compared:
        detail += " (the others within 1e-5: the store keeps direction and length apart)"
    return Check("records", source, Verdict.PROVEN, detail)


def _schema_check(source: str, faults: Sequence[str], collections: int) -> Check:
    if faults:
        return Check("schema", source, Verdict.FAILED, "; ".join(faults[:3]))
    detail = (
        f"dimensions, distances and index settings of {collections} collections are as captured"
    )
    return Check("schema", source, Verdict.PROVEN, detail)


def _schema_faults(wanted: RecordSet, found: RecordSet) -> Iterator[str]:
    there = {one.name: one for one in found.vectors}
    nameless = found.vectors[0] if len(found.vectors) == 1 == len(wanted.vectors) else None
    for field in wanted.vectors:
        here = there.get(field.name) or nameless
        label = f"{wanted.name} {field.name}".rstrip()
        if here is None:
            yield f"{label}: the vector is not there"
            continue
        if field.dimension is not None and here.dimension != field.dimension:
            yield f"{label}: dimension {here.dimension}, captured {field.dimension}"
        if here.distance != field.distance:
            yield f"{label}: distance {here.distance}, captured {field.distance}"
        for key, setting in _comparable(wanted, found, field.index, here.index).items():
            if key in here.index and here.index[key] != setting:
                yield f"{label}: {key} is {here.index[key]}, captured {setting}"
        exact = field.index.get("kind") == "flat"  # which searches all vectors, as none does
        if field.index and not exact and not here.index and found.kind == wanted.kind:
            yield f"{label}: it has no index"


def _comparable(
    wanted: RecordSet, found: RecordSet, index: Mapping[str, Any], here: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the index settings to compare: another kind of store may lack that kind of index."""
    if found.kind != wanted.kind and index.get("kind") != here.get("kind"):
        return {}
    return index


def _compare_points(
    target: RecordsTarget, name: str, collection: CapturedCollection, keys: Sequence[str]
) -> tuple[int, int, list[str]]:
    chosen = set(keys)
    originals = {point.id: point for point in collection.points() if point.id in chosen}
    found = {point.id: point for point in target.fetch(name, tuple(originals))}
    exact, faults = 0, []
    for key, original in originals.items():
        wanted = target.kept_form(name, original)
        here = found.get(wanted.id)
        if here is None:
            faults.append(f"{collection.name}: record {key!r} is not there")
            continue
        if fault := _difference(wanted, here):
            faults.append(f"{collection.name}: record {key!r}: {fault}")
        exact += dict(here.vectors) == dict(wanted.vectors)
    if absent := chosen - originals.keys():
        faults.append(f"{collection.name}: record {sorted(absent)[0]!r} is not in the capture")
    return len(originals), exact, faults


def _difference(wanted: Point, found: Point) -> str:
    if to_json(wanted.payload) != to_json(found.payload):
        return "its payload differs"
    if wanted.document != found.document:
        return "its document differs"
    if wanted.vectors.keys() != found.vectors.keys():
        return "its vectors are not those captured"
    for name, vector in wanted.vectors.items():
        if not _near(vector, found.vectors[name]):
            return f"its vector {name}".rstrip() + " differs"
    return ""


def _near(one: bytes, other: bytes) -> bool:
    if one == other:
        return True
    if len(one) != len(other):
        return False
    form = f"<{len(one) // 4}f"
    pairs = zip(struct.unpack(form, one), struct.unpack(form, other), strict=True)
    return all(math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for a, b in pairs)


def collection_for(names: Sequence[str], wanted: str) -> str | None:
    """Return the captured collection that a golden speaks of: by its name, or ``name.vector``."""
    fitting = [name for name in names if wanted == name or wanted.startswith(f"{name}.")]
    return max(fitting, key=len, default=None)
