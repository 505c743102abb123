"""Exporting, with everything that may go wrong on the way."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llmvault.catalog.model import PointEntry
from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import (
    IntegrityError,
    PolicyError,
    RefusedError,
    UnavailableError,
    UnprovenError,
    VaultError,
)
from llmvault.core.secrets import Secret
from llmvault.core.verdict import Verdict
from llmvault.evidence.archive import unpack
from llmvault.evidence.model import LedgerPart, Period
from llmvault.evidence.run import run_export, run_report, run_verify
from tests.fakes.evidence import BEGIN, END, FakeLedger, holds
from tests.fakes.evidence_bundle import Desk

MANIFEST = {
    "id": "", "policy_digest": "0" * 64, "rpo_seconds": 86_400.0, "checks": [],
    "sources": [
        {"name": "assistant-0", "kind": "model_dir", "verdict": "proven", "files": 3, "bytes": 9,
         "files_sha256": "1" * 64, "snapshots": {"primary": "abc"}, "location": "/home/anna/x",
         "observation": {"findings": ["answer for anna.meier@example.org"]}},
    ],
    "goldens": [{"records": [{"prompt": "write to anna.meier@example.org"}]}],
}  # fmt: skip
REPORT = {
    "host": "scratch", "policy_digest": "0" * 64, "engines": {},
    "sources": [{"name": "assistant-0", "kind": "model_dir", "files": 3, "bytes": 9,
                 "repository": "primary"}],
    "checks": [{"name": "golden:answers", "source": "assistant-0", "verdict": "proven",
                "detail": "first answer: 'Dear anna.meier@example.org'"}],
}  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An installation whose manifests and reports lie on its disk."""
    made = Desk(tmp_path)
    for point in made.quarter.points:
        header = canonical_bytes({"format": "x", "recovery_point": MANIFEST | {"id": point.id}})
        made.ports.memory.keep_manifest(point.id, _sealed(header + b"\n"))
    made.ports.reports.mkdir(parents=True, exist_ok=True)
    for drill in made.quarter.drills:
        document = json.dumps(REPORT | {"drill": drill.id})
        (made.ports.reports / f"{drill.id}.json").write_text(document)
    return made


def _sealed(body: bytes) -> bytes:
    import hashlib

    return body + canonical_bytes({"sha256": hashlib.sha256(body).hexdigest()}) + b"\n"


def test_a_bundle_is_written_whole_private_and_verifies(desk: Desk, tmp_path: Path) -> None:
    done = run_export(desk.ports, desk.request())
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    key = tmp_path / "key.pem"
    key.write_bytes(desk.quarter.signer.public_pem)
    assert run_verify(done.path, key, holds).verdict is Verdict.PROVEN
    assert run_verify(done.path, None, holds).verdict is Verdict.UNPROVEN
    assert done.counts["backup"] == {"proven": 9, "failed": 0, "unproven": 0}
    assert done.as_json()["findings"]["dora"]["satisfied"] >= 2
    last = desk.quarter.ledger.entries[-1]
    assert (last.kind, last.facts["bundle"]) == ("evidence.exported", done.sha256)


def test_the_same_state_gives_the_same_bytes(desk: Desk, tmp_path: Path) -> None:
    first = run_export(desk.ports, desk.request(output=tmp_path / "one.zip"))
    desk.quarter.ledger.entries.pop()  # the note of the first export
    second = run_export(desk.ports, desk.request(output=tmp_path / "two.zip"))
    assert first.path.read_bytes() == second.path.read_bytes()


def test_the_page_is_made_anew(desk: Desk, tmp_path: Path) -> None:
    done = run_export(desk.ports, desk.request())
    page = tmp_path / "page.html"
    assert run_report(done.path, page) is done.verdict
    assert page.read_bytes() == unpack(done.path.read_bytes())["report.html"]


def test_nothing_of_what_people_wrote_is_taken_along(desk: Desk) -> None:
    desk.quarter.ledger.add(END - timedelta(hours=1), "odd.done", {"id": "anna.meier@example.org"})
    done = run_export(desk.ports, desk.request(frameworks=()))
    data = done.path.read_bytes()
    files = unpack(data)
    for planted in (b"anna", b"Dear", b"write to"):
        assert not [name for name in files if planted in files[name]], planted
    assert b'"withheld":"' in files["ledger/entries.jsonl"]
    assert json.loads(files["evidence.json"])["ledger"]["withheld"] == 1
    key = desk.place / "key.pem"
    key.write_bytes(desk.quarter.signer.public_pem)
    assert run_verify(done.path, key, holds).verdict is Verdict.PROVEN


def test_a_secret_that_got_into_a_name_is_not_written(tmp_path: Path) -> None:
    desk = Desk(tmp_path, secrets={"env:PASSWORD": Secret("assistant-0-hush")})
    desk.quarter.ledger.add(END - timedelta(hours=1), "odd.done", {"id": "assistant-0-hush"})
    with pytest.raises(RefusedError, match="it would hold the value of the secret env:PASSWORD"):
        run_export(desk.ports, desk.request())
    assert not desk.request().output.exists()


def test_a_policy_that_changes_meanwhile_stops_the_export(desk: Desk) -> None:
    policy = desk.place / "policies" / "policy.yaml"
    changes: list[Callable[[], object]] = [
        lambda: policy.write_text(policy.read_text().replace("/srv/models", "/srv/weights")),
        lambda: policy.write_text(policy.read_text() + "# only a comment\n"),
        lambda: (desk.place / "policies" / "more.yaml").write_text("evidence: {}\n"),
    ]
    for change in changes:
        ports = replace(desk.ports, points=_after(change, desk))
        with pytest.raises(UnprovenError, match="changed while evidence was made"):
            run_export(ports, desk.request())
        assert not desk.request().output.exists()
    assert "evidence.exported" not in {entry.kind for entry in desk.quarter.ledger.entries}


def _after(change: Callable[[], object], desk: Desk) -> Callable[[], list[PointEntry]]:
    def points() -> list[PointEntry]:
        change()
        return list(desk.quarter.points)

    return points


def test_a_policy_file_taken_away_meanwhile_stops_the_export(desk: Desk) -> None:
    more = desk.place / "policies" / "more.yaml"
    more.write_text("evidence: {valid_for: {drill: 30d}}\n")
    ports = replace(desk.ports, points=_after(more.unlink, desk))
    with pytest.raises(VaultError, match=r"was taken away|changed while"):
        run_export(ports, desk.request())
    assert not desk.request().output.exists()


def test_an_empty_period_is_written_and_unproven(desk: Desk) -> None:
    long_ago = END - timedelta(days=1_000)
    asked = desk.request(begin=long_ago, end=long_ago + timedelta(days=1))
    done = run_export(desk.ports, asked)
    assert done.verdict is Verdict.UNPROVEN
    assert "no drill in the period" in done.reasons
    assert done.findings["dora"][0] == 0
    assert run_verify(done.path, None, holds).verdict is Verdict.UNPROVEN


def test_missing_and_altered_reports_leave_drills_unproven(desk: Desk) -> None:
    reports = sorted(desk.ports.reports.iterdir())
    reports[0].unlink()
    reports[1].write_text("{}")
    done = run_export(desk.ports, desk.request())
    assert done.counts["drill"]["unproven"] == 2
    assert done.verdict is not Verdict.PROVEN


def test_missing_and_altered_manifests_are_told(desk: Desk) -> None:
    points = desk.quarter.points
    desk.ports.memory.manifest_path(points[0].id).unlink()
    altered = desk.ports.memory.manifest_path(points[1].id)
    altered.write_bytes(altered.read_bytes().replace(b"proven", b"failed"))
    done = run_export(desk.ports, desk.request())
    table = unpack(done.path.read_bytes())["csv/statements.csv"].decode()
    assert table.count("no copy of its manifest on this host") == 2


class _Away(FakeLedger):
    def part(self, period: Period) -> LedgerPart:
        raise UnavailableError("ledger", "it cannot be read")


class _Tampered(FakeLedger):
    def part(self, period: Period) -> LedgerPart:
        part = super().part(period)
        entries = list(part.entries)
        entries[0] = replace(entries[0], raw=entries[0].raw.replace(b"backup", b"backed"))
        return replace(part, entries=tuple(entries))


def test_a_ledger_that_cannot_be_read_stops_the_export(desk: Desk) -> None:
    ports = replace(desk.ports, view=_Away(desk.quarter.signer))
    with pytest.raises(UnavailableError, match="it cannot be read"):
        run_export(ports, desk.request())
    assert not desk.request().output.exists()


def test_a_ledger_that_was_tampered_with_gives_no_evidence(desk: Desk) -> None:
    view = _Tampered(desk.quarter.signer, desk.quarter.ledger.entries)
    with pytest.raises(IntegrityError, match="does not verify"):
        run_export(replace(desk.ports, view=view), desk.request())
    assert not desk.request().output.exists()


def test_an_unknown_framework_is_wrong_usage(desk: Desk) -> None:
    with pytest.raises(PolicyError, match="there is none of that name"):
        run_export(desk.ports, desk.request(frameworks=("sox", "socks")))


def test_a_directory_is_no_place_for_a_bundle(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="it is a directory"):
        run_export(desk.ports, desk.request(output=tmp_path))


def test_files_that_cannot_be_read_are_named(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"bundle .* cannot be read"):
        run_verify(tmp_path / "none.zip", None, holds)
    done = run_export(desk.ports, desk.request())
    with pytest.raises(UnavailableError, match=r"public key .* cannot be read"):
        run_verify(done.path, tmp_path / "none.pem", holds)


def test_the_period_ends_now_at_the_latest(desk: Desk) -> None:
    done = run_export(desk.ports, desk.request(begin=BEGIN, end=END + timedelta(days=5)))
    assert done.period.end == END
