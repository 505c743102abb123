"""Repositories that are absent, foreign, locked by another password, replaced or damaged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.quick_repository import write_quick_repository
from tests.system.deployment import Completed, Deployment

pytestmark = pytest.mark.system


def told(done: Completed) -> str:
    """Return the cause that a document tells, wherever it is."""
    if "error" in done.document:
        return f"{done.error['thing']}: {done.error['cause']} next: {done.error['next_step']}"
    checks = " ".join(detail for _, detail in done.bad().values())
    return checks + " ".join(one["reason"] for one in done.document.get("repositories", ()))


def test_a_wrong_password(point: Deployment) -> None:
    (point.base / "secrets" / "password").write_text("guess")
    before = sorted(point.repository.rglob("*"))
    for arguments in (["backup"], ["restore", "latest", "--target", str(point.base / "out")]):
        done = point.run(*arguments, "--json")
        assert done.exit_code == 5, done
        assert "primary" in told(done)
        assert "the password does not open it" in told(done)
    drill = point.run("drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (3, "unproven")
    assert "the password does not open it" in told(drill)
    assert "check the policy's password reference" in told(drill)
    doctor = point.run("doctor", "--json")
    assert doctor.exit_code in (1, 3)
    (diagnosis,) = [
        one for one in doctor.document["diagnoses"] if one["subject"] == 'repository "primary"'
    ]
    assert diagnosis["verdict"] != "proven"
    assert diagnosis["next_step"] == "check the policy's password reference"
    assert "guess" not in drill.stdout + doctor.stdout
    assert sorted(point.repository.rglob("*")) == before
    assert not (point.base / "out").exists()


def test_a_password_that_is_not_there(fresh: Deployment) -> None:
    (fresh.base / "secrets" / "password").unlink()
    for command in ("backup", "drill"):
        done = fresh.run(command, "--json")
        assert done.exit_code == 5
        assert f"secret file:{fresh.base.resolve()}/secrets/password" in told(done)
        assert "No such file" in told(done)
        assert "create it, or correct the policy's reference" in told(done)


def test_a_repository_that_was_never_made(fresh: Deployment) -> None:
    shutil.rmtree(fresh.repository)
    backup = fresh.run("backup", "--json")
    assert backup.exit_code == 5
    assert "there is no repository" in told(backup)
    assert "llmvault init" in told(backup)
    drill = fresh.run("drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (3, "unproven")
    assert "llmvault init" in told(drill)
    restore = fresh.run("restore", "latest", "--target", str(fresh.base / "out"), "--json")
    assert restore.exit_code == 5
    assert "there is no repository" in told(restore)
    assert not fresh.repository.exists()


def test_a_repository_that_is_gone_after_a_backup(point: Deployment) -> None:
    shutil.rmtree(point.repository)
    done = point.run("backup", "--json")
    assert done.exit_code in (3, 5), done
    assert "there is no repository" in done.stdout


def test_init_makes_what_is_missing_and_keeps_what_is_there(fresh: Deployment) -> None:
    kept = fresh.run("init", "--json").document["repositories"]
    shutil.rmtree(fresh.repository)
    made = fresh.run("init", "--json").document["repositories"]
    assert [one["created"] for one in (*kept, *made)] == [False, True]
    assert kept[0]["id"] != made[0]["id"]
    backup = fresh.run("backup", "--json")
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven")


def test_a_repository_of_another_project(fresh: Deployment) -> None:
    theirs = fresh.base / "theirs"
    theirs.mkdir()
    (theirs / "accounts.txt").write_text("not ours")
    assert fresh.restic("backup", "--tag", "accounts", str(theirs)).returncode == 0
    done = fresh.run("backup", "--json")
    assert done.exit_code == 4
    assert "it belongs to another project" in told(done)
    assert "give llmvault a repository of its own" in told(done)
    drill = fresh.run("drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (3, "unproven")
    assert "llmvault backup" in told(drill)
    assert fresh.restic("snapshots", "--json").stdout.count('"short_id"') == 1


def test_a_repository_that_lost_its_content(point: Deployment) -> None:
    shutil.rmtree(point.repository)
    write_quick_repository(point.repository)  # the id is the same, the snapshots are gone
    first = point.run("backup", "--json")
    assert first.exit_code in (0, 3)
    assert first.named("sources", "model")["bytes_added"] > 100_000
    second = point.run("backup", "--json")
    assert (second.exit_code, second.document["verdict"]) == (0, "proven")
    assert point.run("drill", "--json").exit_code == 0


def test_a_repository_that_was_replaced(point: Deployment) -> None:
    shutil.rmtree(point.repository)
    made = point.run("init", "--json").document["repositories"][0]
    done = point.run("backup", "--json")
    assert done.exit_code == 4, done
    assert f"it is not the one used so far (id {made['id'][:8]}" in told(done)
    assert "llmvault init --adopt" in told(done)
    assert point.restic("snapshots", "--json").stdout.strip() == "[]"
    assert point.run("init", "--adopt", "--json").document["repositories"] == [
        {"name": "primary", "id": made["id"], "created": False}
    ]
    assert point.run("backup", "--json").exit_code == 0


def damage(pack: Path, offset: int) -> Iterator[None]:
    """Flip one bit of a file, and flip it back when resumed."""
    pack.chmod(0o600)
    for _ in range(2):
        with pack.open("r+b") as stream:
            stream.seek(offset)
            byte = stream.read(1)[0]
            stream.seek(offset)
            stream.write(bytes([byte ^ 1]))
        yield


def test_a_flipped_bit_in_a_pack_fails_the_drill_and_names_the_file(point: Deployment) -> None:
    packs = sorted(
        point.repository.glob("data/*/*"), key=lambda path: path.stat().st_size, reverse=True
    )
    flipped = damage(packs[0], packs[0].stat().st_size // 2)  # the largest holds the weights
    next(flipped)
    drill = point.run("drill", "--json")
    assert (drill.exit_code, drill.document["verdict"]) == (1, "failed")
    (named,) = [
        detail
        for (check, source), (verdict, detail) in drill.bad().items()
        if (check, source, verdict) == ("digests", "model", "failed")
    ]
    assert "language.gguf" in named
    assert drill.bad()[("engine:language", "model")][0] == "unproven"
    assert "not started" in drill.bad()[("engine:language", "model")][1]
    people = point.run("drill")
    assert people.exit_code == 1
    assert "failed" in people.stdout
    assert "language.gguf" in people.stdout
    target = point.base / "out"
    restore = point.run("restore", "latest", "--target", str(target), "--json")
    assert (restore.exit_code, restore.document["verdict"]) == (1, "failed")
    assert "language.gguf" in told(restore)
    status = point.run("status", "--json")
    assert (status.exit_code, status.document["verdict"]) == (1, "failed")
    next(flipped)
    assert point.run("drill", "--json").exit_code == 0


def test_a_flipped_bit_in_any_pack_is_never_proven(point: Deployment) -> None:
    packs = sorted(point.repository.glob("data/*/*"))  # those of the point; drills add others
    for pack in packs:
        flipped = damage(pack, pack.stat().st_size // 3)
        next(flipped)
        done = point.run("drill", "--json")
        assert done.exit_code in (1, 3), (pack, done)
        assert done.bad()
        next(flipped)


def test_packs_that_are_gone(point: Deployment) -> None:
    for pack in sorted(point.repository.glob("data/*/*")):
        pack.unlink()
    done = point.run("drill", "--json")
    assert done.exit_code in (1, 3), done
    assert done.document["verdict"] in ("failed", "unproven")


def test_a_second_repository_serves_when_the_first_is_damaged(fresh: Deployment) -> None:
    fresh.override(
        """
        repositories:
          second: {url: ../../second, password: "file:../../secrets/password"}
        plans:
          nightly: {repositories: [primary, second]}
        """
    )
    write_quick_repository(fresh.base / "second")
    backup = fresh.run("backup", "--json")
    assert (backup.exit_code, backup.document["verdict"]) == (0, "proven")
    assert [one["name"] for one in backup.document["repositories"]] == ["primary", "second"]
    largest = max(fresh.repository.glob("data/*/*"), key=lambda path: path.stat().st_size)
    next(damage(largest, 1000))
    target = fresh.base / "out"
    restore = fresh.run("restore", "latest", "--target", str(target), "--json")
    assert (restore.exit_code, restore.document["verdict"]) == (0, "proven")
    original = fresh.live / "model" / "language.gguf"
    assert (target / "model" / "language.gguf").read_bytes() == original.read_bytes()
    shutil.rmtree(fresh.base / "second")
    partly = fresh.run("backup", "--json")
    assert (partly.exit_code, partly.document["verdict"]) == (3, "unproven")
    second = partly.named("repositories", "second")
    assert second["verdict"] == "unproven"
    assert "there is no repository" in second["reason"] + str(partly.document["sources"])
