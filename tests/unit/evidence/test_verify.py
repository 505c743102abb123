"""Bundles with something changed: every change is found, and named."""

from __future__ import annotations

import json

import pytest

from llmvault.core.errors import IntegrityError
from llmvault.core.verdict import Verdict
from llmvault.evidence.archive import pack, unpack
from llmvault.evidence.bundle import ENTRIES, SIGNATURE, SUMS, sums
from llmvault.evidence.verify import Verified, verify_bundle
from tests.fakes.evidence import FakeSigner, Quarter, holds
from tests.fakes.evidence_bundle import files_of, small_bundle

QUARTER, BUNDLE = small_bundle()
KEY = QUARTER.signer.public_pem
FILES = unpack(BUNDLE)


def verified(files: dict[str, bytes]) -> Verified:
    return verify_bundle(pack(files), KEY, holds)


def bad(found: Verified) -> dict[str, str]:
    return {one.name: one.detail for one in found.checks if one.verdict is Verdict.FAILED}


def resigned(changes: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files with some changed and the list of digests signed again."""
    files = {**FILES, **changes}
    files[SUMS] = sums(files)
    return {**files, SIGNATURE: QUARTER.signer.sign(files[SUMS])}


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_a_whole_bundle_is_proven() -> None:
    found = verify_bundle(BUNDLE, KEY, holds)
    assert found.verdict is Verdict.PROVEN, found.checks
    assert {check.name for check in found.checks} == {
        *("container", "key", "signature", "files", "evidence", "statements", "checkpoint"),
        *("entries", "proofs", "agreement"),
    }
    assert len(found.statements) > 20


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_bit_changed_in_a_file_is_found(name: str) -> None:
    for position in {0, len(FILES[name]) // 2, len(FILES[name]) - 1}:
        found = verified({**FILES, name: flipped(FILES[name], position)})
        assert found.verdict is Verdict.FAILED
        told = bad(found)
        if name in (SUMS, SIGNATURE):
            assert "signature" in told
        else:
            assert f"{name} was changed" in told["files"]


def test_one_bit_changed_between_the_files_is_found() -> None:
    content = b"".join(FILES[name] for name in sorted(FILES))
    step = max(1, len(BUNDLE) // 400)
    assert len(BUNDLE) > len(content)
    for position in (*range(0, len(BUNDLE), step), *range(len(BUNDLE) - 200, len(BUNDLE))):
        assert verify_bundle(flipped(BUNDLE, position), KEY, holds).verdict is Verdict.FAILED


@pytest.mark.parametrize("data", [b"", b"PK", BUNDLE[:-1], BUNDLE + b"\0", b"x" + BUNDLE])
def test_a_torn_or_longer_file_is_found(data: bytes) -> None:
    assert verify_bundle(data, KEY, holds).verdict is Verdict.FAILED


def test_a_missing_and_an_added_file_are_named() -> None:
    less = {name: data for name, data in FILES.items() if name != "report.html"}
    assert "report.html is missing" in bad(verified(less))["files"]
    assert "extra.txt is not listed" in bad(verified({**FILES, "extra.txt": b"x"}))["files"]


def test_a_bundle_of_another_installation_is_named() -> None:
    other = FakeSigner("somebody else").public_pem
    found = verify_bundle(BUNDLE, other, holds)
    assert found.verdict is Verdict.FAILED
    assert "another installation" in bad(found)["key"]
    assert {"signature", "statements", "checkpoint"} <= bad(found).keys()


def test_without_a_key_it_is_unproven_whose_it_is() -> None:
    found = verify_bundle(BUNDLE, None, holds)
    assert found.verdict is Verdict.UNPROVEN
    (why,) = [one for one in found.checks if one.verdict is not Verdict.PROVEN]
    assert (why.name, why.verdict) == ("key", Verdict.UNPROVEN)


def test_what_is_no_key_fails() -> None:
    assert "key" in bad(verify_bundle(BUNDLE, b"nonsense", holds))


def test_an_entry_taken_out_is_found_even_when_signed_again() -> None:
    lines = FILES[ENTRIES].splitlines(keepends=True)
    told = bad(verified(resigned({ENTRIES: b"".join([*lines[:5], *lines[6:]])})))
    assert told.keys() == {"entries", "proofs", "agreement"}


def test_an_entry_that_was_rewritten_is_found_even_when_signed_again() -> None:
    changed = FILES[ENTRIES].replace(b'"backup.started"', b'"backup.stopped"', 1)
    assert "root of the checkpoint" in bad(verified(resigned({ENTRIES: changed})))["entries"]


def test_a_proof_of_another_entry_is_found() -> None:
    names = [name for name in FILES if name.startswith("ledger/proofs/")]
    told = bad(verified(resigned({names[0]: FILES[names[1]]})))
    assert "proofs" in told


def test_a_statement_that_says_more_than_the_ledger_is_found() -> None:
    quarter = Quarter(plans=1, sources=1, days=9, trouble=False)
    facts = {"id": "r1", "verdict": "failed"}
    quarter.ledger.add(quarter.points[3].started, "index.rebuilt", facts)
    files = files_of(quarter, quarter.observed())
    found = verify_bundle(pack(files), KEY, holds)
    assert found.verdict is Verdict.PROVEN
    lying = [
        one if one["kind"] != "activity" else {**one, "verdict": "proven"}
        for one in found.statements
    ]
    from llmvault.evidence import verify

    reader = verify._Reader(files, KEY, holds)
    reader.predicates = lying
    with pytest.raises(IntegrityError, match="where the ledger says failed"):
        reader.agreement()


def test_an_empty_period_is_unproven_not_green() -> None:
    quarter = Quarter(plans=1, sources=1, days=0)
    found = verify_bundle(pack(files_of(quarter, quarter.observed())), KEY, holds)
    assert found.verdict is Verdict.UNPROVEN
    unproven = {one.name for one in found.checks if one.verdict is Verdict.UNPROVEN}
    assert unproven == {"entries", "proofs", "agreement"}


def test_an_unknown_format_is_named() -> None:
    document = json.loads(FILES["evidence.json"]) | {"format": "llmvault/evidence/9"}
    told = bad(verified(resigned({"evidence.json": json.dumps(document).encode()})))
    assert "llmvault/evidence/9" in told["evidence"]
