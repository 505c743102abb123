"""Statements, OSCAL, tables and the zip, read by other implementations than ours."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer._key import SSlibKey
from trestle.oscal.assessment_plan import Model as AssessmentPlan
from trestle.oscal.assessment_results import Model as AssessmentResults

from llmvault.core.errors import IntegrityError
from llmvault.evidence import dsse
from llmvault.evidence.archive import pack, unpack
from llmvault.evidence.bundle import read_statements, statement_files
from llmvault.evidence.frameworks import framework, framework_names
from llmvault.evidence.oscal import PLAN, RESULTS, token
from tests.fakes.evidence import Quarter
from tests.fakes.evidence_bundle import files_of

QUARTER = Quarter(plans=3, sources=2, days=90)
FILES = files_of(QUARTER, QUARTER.observed(), framework_names())


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILES[RESULTS])["assessment-results"]["results"][0]
    return found


def test_another_implementation_verifies_every_statement() -> None:
    pem = QUARTER.signer.public_pem.decode()
    lines = [line for found in statement_files(FILES).values() for line in found]
    assert len(lines) > 300
    for line in lines:
        raw = json.loads(line)
        key = SSlibKey(raw["signatures"][0]["keyid"], "ed25519", "ed25519", {
            "public": QUARTER.signer.raw.hex()})  # fmt: skip
        assert Envelope.from_dict(raw).verify([key], 1)
    assert "PUBLIC KEY" in pem


def test_statements_are_in_toto_statements() -> None:
    for lines in statement_files(FILES).values():
        body = json.loads(dsse.read_envelope(lines[0]).payload)
        assert body["_type"] == "https://in-toto.io/Statement/v1"
        (subject,) = body["subject"]
        assert len(subject["digest"]["sha256"]) == 64
    drill = json.loads(
        dsse.read_envelope(FILES["statements/drill.intoto.jsonl"].splitlines()[0]).payload
    )
    assert drill["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert drill["predicate"]["result"] == "PASSED"
    assert drill["predicate"]["passedTests"]


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b'{"payloadType":"text/plain","payload":"","signatures":[]}',
     b'{"payloadType":"application/vnd.in-toto+json","payload":"?","signatures":[]}'],
)  # fmt: skip
def test_what_is_no_envelope_is_refused(line: bytes) -> None:
    with pytest.raises(IntegrityError):
        dsse.read_envelope(line)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"predicate":{"kind":"nonsense"}}'])
def test_what_is_no_statement_is_refused(body: bytes) -> None:
    with pytest.raises(IntegrityError):
        dsse.read_statement(body)


def test_trestle_reads_the_oscal_documents() -> None:
    plan = AssessmentPlan(**json.loads(FILES[PLAN]))
    found = AssessmentResults(**json.loads(FILES[RESULTS]))
    assert plan.assessment_plan.reviewed_controls.control_selections
    assert len(found.assessment_results.results[0].findings or ()) > 100


def test_observations_go_stale_and_findings_rest_on_them() -> None:
    observed = {one["uuid"]: one for one in results()["observations"]}
    drills = [one for one in observed.values() if one["title"].startswith("Recovery drills")]
    assert {one["methods"][0] for one in drills} == {"TEST"}
    assert all(one["expires"] > one["collected"] for one in drills)
    for finding in results()["findings"]:
        for related in finding.get("related-observations", ()):
            assert related["observation-uuid"] in observed


def test_resources_have_the_digests_of_the_statements() -> None:
    import hashlib

    document = json.loads(FILES[RESULTS])["assessment-results"]
    hashed = [one for one in document["back-matter"]["resources"] if "hashes" in one["rlinks"][0]]
    assert hashed
    for one in hashed:
        (link,) = one["rlinks"]
        data = FILES[link["href"].removeprefix("../")]
        assert link["hashes"][0]["value"] == hashlib.sha256(data).hexdigest()


def test_nothing_says_compliant() -> None:
    for name, data in FILES.items():
        text = data.decode("utf-8", errors="replace").lower()
        for said in ("compliant", "complies with", "in compliance"):
            assert said not in text, f"{name} says {said}"


def test_every_framework_has_a_source_for_every_demand() -> None:
    tokens = []
    for name in framework_names():
        found = framework(name)
        assert found.controls, name
        for control in found.controls:
            assert control.demand and control.answers
            assert control.wording in ("checked", "not checked")
            assert control.source.startswith("https://")
            tokens.append(token(name, control.id))
    assert len(tokens) == len(set(tokens))
    assert {"soc2", "iso27001", "dora", "hipaa", "pci", "gdpr", "nis2"} <= set(framework_names())


def test_tables_hold_every_statement_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(FILES["csv/statements.csv"].decode())))
    assert len(rows) == len(read_statements(FILES))
    points = list(csv.DictReader(io.StringIO(FILES["csv/recovery-points.csv"].decode())))
    assert len(points) == len(QUARTER.points)
    assert {row["copies"] for row in points} == {"2"}
    gone = list(csv.DictReader(io.StringIO(FILES["csv/deletions.csv"].decode())))
    assert gone and all("keeps 35 dailies" in row["why"] for row in gone)


def test_cells_are_no_formulas() -> None:
    from llmvault.evidence.tables import _cell

    assert _cell("=1+1") == "'=1+1"
    assert _cell("@x") == "'@x"
    assert (_cell(None), _cell(-3), _cell("a=b")) == ("", -3, "a=b")


def test_the_zip_is_the_same_for_the_same_files() -> None:
    names = list(FILES)
    assert pack(FILES) == pack({name: FILES[name] for name in reversed(names)})
    with zipfile.ZipFile(io.BytesIO(pack(FILES))) as archive:
        assert archive.namelist() == sorted(FILES)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 & 0o777 for entry in archive.infolist()} == {0o600}
    assert unpack(pack(FILES)) == FILES


@pytest.mark.parametrize("name", ["../up", "/root", "a//b", "a/../b", ".hidden", "a\\b", ""])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(IntegrityError):
        unpack(pack({name: b"x"}))


def test_a_compressed_zip_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("evidence.json", b"x" * 1000)
    with pytest.raises(IntegrityError):
        unpack(stream.getvalue())
