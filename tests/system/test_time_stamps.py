"""Time stamps of the ledger from the command line, by a real authority that can be away."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port
from tests.system.deployment import Deployment
from tests.time_stamps import TimeStampAuthority, time_stamp_authority

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]
DOCUMENT = Path(__file__).parents[2] / "docs/formats/ledger.md"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[TimeStampAuthority]:
    with time_stamp_authority(tmp_path / "tsa") as found:
        yield found


def declare(made: Deployment, authority: TimeStampAuthority, *, every: str = "1s") -> None:
    witness = made.base / "witness"
    witness.mkdir(exist_ok=True)
    shutil.copy(authority.certificates, made.policies / "tsa.pem")
    made.override(
        f"""
        ledger:
          witnesses: {{share: {{kind: directory, path: {witness}}}}}
          time_stamps: {{url: {authority.url}, certificates: ../tsa.pem, every: {every}}}
        """
    )


def stamp_check(made: Deployment) -> dict[str, Any]:
    return made.run("ledger", "verify", "--json").named("checks", "time-stamp")


def diagnosis(made: Deployment) -> dict[str, Any]:
    found = made.run("doctor", "--json").document["diagnoses"]
    (one,) = [one for one in found if one["subject"] == "time stamps of the ledger"]
    return dict(one)


def test_a_backup_is_stamped_and_openssl_agrees(
    fresh: Deployment, authority: TimeStampAuthority
) -> None:
    declare(fresh, authority)
    assert fresh.run("backup", "--json").exit_code == 0
    verified = fresh.run("ledger", "verify", "--json")
    assert (verified.exit_code, verified.document["verdict"]) == (0, "proven"), verified
    assert "1 verify; the first 4 entries were there" in stamp_check(fresh)["detail"]
    assert diagnosis(fresh)["verdict"] == "proven"

    (response,) = (fresh.state / "ledger/stamps").glob("*.tsr")
    argv: list[str | Path] = [
        "openssl", "ts", "-verify", "-data", response.with_suffix(".checkpoint"),
        "-in", response, "-CAfile", authority.certificates,
    ]  # fmt: skip
    assert "Verification: OK" in subprocess.check_output(argv, text=True, stderr=subprocess.STDOUT)
    assert "openssl ts -verify -data" in DOCUMENT.read_text()


def test_stamps_come_back_with_the_ledger_and_verify(
    fresh: Deployment, authority: TimeStampAuthority
) -> None:
    declare(fresh, authority, every="30d")
    assert fresh.run("backup", "--json").exit_code == 0
    assert fresh.run("init", "--json").exit_code == 0  # something new to stamp
    assert fresh.run("ledger", "checkpoint", "--json").exit_code == 0
    stamps = {path.name: path.read_bytes() for path in (fresh.state / "ledger/stamps").iterdir()}
    assert len(stamps) == 5, "two stamps, and where stamping stands"
    for place in (fresh.state, fresh.policies):
        shutil.rmtree(place)
    password = f"file:{fresh.base / 'secrets/password'}"
    where = ("--repository", str(fresh.repository), "--password", password)
    back = fresh.run("init", "--recover", *where, "--json")
    assert (back.exit_code, back.document["verdict"]) == (0, "proven"), back
    found = {path.name: path.read_bytes() for path in (fresh.state / "ledger/stamps").iterdir()}
    assert found == stamps
    shutil.copy(authority.certificates, fresh.policies / "tsa.pem")
    told = stamp_check(fresh)
    assert (told["verdict"], "2 verify" in told["detail"]) == ("proven", True), told
    assert authority.asked == 2


def test_an_authority_that_is_away_fails_nothing_and_is_asked_again(
    fresh: Deployment, authority: TimeStampAuthority
) -> None:
    declare(fresh, authority)
    there, authority.url = authority.url, f"http://127.0.0.1:{free_port()}"
    declare(fresh, authority)
    backup = fresh.run("backup", "--json")
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven")
    assert "not yet stamped: the checkpoint of 4 entries waits since" in backup.stderr
    verified = fresh.run("ledger", "verify", "--json")
    assert verified.exit_code == 3
    waiting = stamp_check(fresh)
    assert waiting["verdict"] == "unproven"
    assert "attempts: 1" in waiting["detail"]
    assert "cannot be reached" in waiting["detail"]
    found = diagnosis(fresh)
    assert found["verdict"] == "unproven"
    assert "llmvault ledger checkpoint" in found["next_step"]

    authority.url, authority.mode = there, "away"
    declare(fresh, authority)
    again = fresh.run("ledger", "checkpoint", "--json")
    assert again.exit_code == 3
    assert "attempts: 2" in again.named("checks", "time-stamp")["detail"]
    assert "status 503" in stamp_check(fresh)["detail"]

    authority.mode = "good"
    assert fresh.run("backup", "--json").exit_code == 0
    assert stamp_check(fresh)["verdict"] == "proven"
    assert diagnosis(fresh)["verdict"] == "proven"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("garbage", "the answer is none of RFC 3161"),
        ("other", "does not verify"),
        ("rejects", "the authority answers rejection"),
    ],
)
def test_what_is_no_stamp_of_ours_is_not_kept(
    point: Deployment, authority: TimeStampAuthority, mode: str, words: str
) -> None:
    declare(point, authority)
    authority.mode = mode
    done = point.run("ledger", "checkpoint", "--json")
    assert done.exit_code == 3
    assert words in done.named("checks", "time-stamp")["detail"]
    assert list((point.state / "ledger/stamps").glob("*.tsr")) == []
    assert stamp_check(point)["verdict"] == "unproven"


def test_an_answer_that_was_given_before_is_refused(
    point: Deployment, authority: TimeStampAuthority
) -> None:
    declare(point, authority)
    assert point.run("ledger", "checkpoint", "--json").exit_code == 0
    authority.mode = "replay"
    done = point.run("ledger", "checkpoint", "--json")
    assert (done.exit_code, authority.asked) == (0, 1)  # nothing new: nobody is asked
    assert point.run("backup", "--json").exit_code == 0
    assert authority.asked == 2
    assert "Nonce mismatch" in stamp_check(point)["detail"]


def test_stamps_are_verified_offline_against_the_ledger(
    point: Deployment, authority: TimeStampAuthority
) -> None:
    declare(point, authority, every="30d")
    assert point.run("ledger", "checkpoint", "--json").exit_code == 0
    authority.url = f"http://127.0.0.1:{free_port()}"
    declare(point, authority, every="30d")
    assert stamp_check(point)["verdict"] == "proven"
    assert point.run("backup", "--json").exit_code == 0  # the next stamp is not due
    assert authority.asked == 1
    assert stamp_check(point)["verdict"] == "proven"

    stamps = point.state / "ledger/stamps"
    (response,) = stamps.glob("*.tsr")
    good = response.read_bytes()
    for broken in (good[:-1] + bytes([good[-1] ^ 1]), good[:-9], b""):
        response.write_bytes(broken)
        assert stamp_check(point)["verdict"] == "failed"
    response.write_bytes(good)

    other = point.copy(point.base.parent / "other")  # a ledger that was put back to its beginning
    shutil.rmtree(other.state / "ledger")
    shutil.rmtree(other.state / "keys")
    assert other.run("init").exit_code == 0
    shutil.copytree(stamps, other.state / "ledger/stamps")
    found = stamp_check(other)
    assert (found["verdict"], "none of this ledger's keys" in found["detail"]) == ("failed", True)

    (point.policies / "tsa.pem").unlink()
    gone = stamp_check(point)
    assert (gone["verdict"], "cannot be read" in gone["detail"]) == ("unproven", True)
