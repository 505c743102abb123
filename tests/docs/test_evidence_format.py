"""An outsider verifies a bundle by the document alone: bash, coreutils, unzip and openssl."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llmvault.evidence.archive import pack, unpack
from tests.fakes.evidence import Quarter
from tests.fakes.evidence_bundle import files_of

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "formats" / "evidence.md").read_text(encoding="utf-8")
TOOLS = ("bash", "openssl", "sha256sum", "unzip")
FILLED_IN, UNPACK, STATEMENTS, CHECKPOINT, PROOFS = re.findall(
    r"^```sh\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE
)


@pytest.fixture(scope="module")
def quarter() -> Quarter:
    """What the bundle is of; one entry of its ledger must be withheld."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"not run: the document needs {tool}, which is not installed")
    made = Quarter(plans=1, sources=1, days=9)
    made.ledger.add(made.points[2].started, "odd.done", {"id": "anna@example.org"})
    return made


@pytest.fixture(scope="module")
def files(quarter: Quarter) -> dict[str, bytes]:
    """The bundle's files."""
    return files_of(quarter, quarter.observed())


def shell(
    quarter: Quarter, place: Path, files: dict[str, bytes], *scripts: str
) -> subprocess.CompletedProcess[str]:
    """Run blocks as one script in an empty place, with what the reader fills in filled in."""
    bundle, key = place / "bundle.zip", place / "key.pem"
    bundle.write_bytes(pack(files))
    key.write_bytes(quarter.signer.public_pem)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(scripts)],
        cwd=place,
        env={"PATH": "/usr/bin:/bin", "BUNDLE": str(bundle), "KEY": str(key), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_the_reader_fills_in_bundle_and_key() -> None:
    assert re.findall(r"^export (\w+)=\.\.\.", FILLED_IN, re.MULTILINE) == ["BUNDLE", "KEY"]


def test_an_outsider_verifies_everything(
    quarter: Quarter, files: dict[str, bytes], tmp_path: Path
) -> None:
    done = shell(quarter, tmp_path, files, UNPACK, STATEMENTS, CHECKPOINT, PROOFS)
    assert done.returncode == 0, done
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert "every proof leads to the root" in done.stdout
    plain = (tmp_path / "statements.jsonl").read_text().splitlines()
    assert len(plain) == sum(len(files[n].splitlines()) for n in files if n.startswith("statem"))
    assert all(json.loads(line)["_type"] == "https://in-toto.io/Statement/v1" for line in plain)
    assert b'"withheld"' in files["ledger/entries.jsonl"]


@pytest.mark.parametrize(
    "name", ["report.html", "SHA256SUMS", "SHA256SUMS.sig", "statements/drill.intoto.jsonl"]
)
def test_a_changed_file_stops_the_reader(
    quarter: Quarter, files: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    changed = {**files, name: flipped(files[name])}
    assert shell(quarter, tmp_path, changed, UNPACK).returncode != 0


def test_an_added_file_stops_the_reader(
    quarter: Quarter, files: dict[str, bytes], tmp_path: Path
) -> None:
    assert shell(quarter, tmp_path, {**files, "extra.txt": b"x"}, UNPACK).returncode != 0


ENTER = 'unzip -q "$BUNDLE" -d evidence && cd evidence\n'


def test_the_statements_have_signatures_of_their_own(
    quarter: Quarter, files: dict[str, bytes], tmp_path: Path
) -> None:
    name = "statements/drill.intoto.jsonl"
    line = files[name].splitlines()[0]
    payload = re.sub(rb'("payload":")(....)', rb"\1AAAA", line)
    changed = {**files, name: payload + b"\n"}
    assert shell(quarter, tmp_path, changed, ENTER, STATEMENTS).returncode != 0


def test_a_changed_checkpoint_is_noticed(
    quarter: Quarter, files: dict[str, bytes], tmp_path: Path
) -> None:
    changed = {**files, "ledger/checkpoint": files["ledger/checkpoint"].replace(b"org", b"com", 1)}
    assert shell(quarter, tmp_path, changed, ENTER, CHECKPOINT).returncode != 0


def test_a_changed_entry_is_noticed(
    quarter: Quarter, files: dict[str, bytes], tmp_path: Path
) -> None:
    entries = files["ledger/entries.jsonl"].replace(b'"verdict":"proven"', b'"verdict":"failed"', 1)
    changed = {**files, "ledger/entries.jsonl": entries}
    done = shell(quarter, tmp_path, changed, ENTER, PROOFS)
    assert done.returncode != 0
    assert "does not lead to the root" in done.stdout


def test_the_zip_is_read_by_unzip_as_by_us(files: dict[str, bytes]) -> None:
    assert unpack(pack(files)) == files
