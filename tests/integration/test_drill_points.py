"""Which recovery point is drilled, and where to."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.verdict import Verdict
from llmvault.drill.apply import FULL
from llmvault.drill.hosts.local import MARKER, PREFIX
from llmvault.drill.plan import DrillRequest
from llmvault.drill.run import run_drill
from tests.fakes.deployment import FakeDeployment
from tests.fakes.stepping_clock import SteppingClock
from tests.integration.drilled import bad, verdict_of
from tests.integration.test_backup_repositories import store_torn
from tests.integration.test_restore import small_disk
from tests.vault import PLAN, Vault, flip

pytestmark = pytest.mark.integration


class TestPoints:
    """Which recovery point is drilled."""

    def test_by_id(self, vault: Vault, deployment: FakeDeployment, point: str) -> None:
        _, newer = vault.backup(recorder=deployment.recorder(vault))
        assert vault.drill(deployment.wiring, point).recovery_point == point
        assert vault.drill(deployment.wiring).recovery_point == newer.id

    def test_at_random(self, vault: Vault, deployment: FakeDeployment, point: str) -> None:
        store_torn(vault, b"{}", "rp-torn")
        for _ in range(2):
            assert vault.drill(deployment.wiring, "random").recovery_point == point

    def test_a_torn_manifest_is_passed_over(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        store_torn(vault, b"", "rp-torn")
        result = vault.drill(deployment.wiring)
        assert (result.verdict, result.recovery_point) == (Verdict.PROVEN, point)

    def test_only_torn_ones(self, vault: Vault, deployment: FakeDeployment) -> None:
        store_torn(vault, b"", "rp-torn")
        result = vault.drill(deployment.wiring)
        assert "holds no whole one" in bad(result)["drill", ""][1]

    @pytest.mark.parametrize("wanted", ["latest", "random", "rp-unknown"])
    def test_none(self, vault: Vault, deployment: FakeDeployment, wanted: str) -> None:
        result = vault.drill(deployment.wiring, wanted)
        assert result.verdict is Verdict.UNPROVEN
        assert bad(result).keys() == {("drill", ""), ("rto", ""), ("rpo", "")}
        assert Path(result.report).is_file(), "it is told all the same"

    def test_a_damaged_newest_manifest_fails_and_an_older_point_can_be_named(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        packs = set(vault.packs())
        vault.backup()
        shutil.rmtree(vault.base / "cache")
        for pack in set(vault.packs()) - packs:
            flip(pack, pack.stat().st_size // 3)
        result = vault.drill(deployment.wiring)
        assert bad(result)["drill", ""][0] is Verdict.FAILED
        older = vault.drill(deployment.wiring, point)
        assert bad(older).keys() == {("newest-point", ""), ("rpo", "")}
        assert older.recovery_point == point

    def test_an_absent_repository(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        shutil.rmtree(vault.place())
        result = vault.drill(deployment.wiring)
        assert result.verdict is Verdict.UNPROVEN
        assert "there is no repository" in bad(result)["drill", ""][1]

    def test_an_unproven_point_stays_unproven(
        self, vault: Vault, deployment: FakeDeployment
    ) -> None:
        shutil.rmtree(deployment.documents.path)
        vault.backup()
        result = vault.drill(replace(deployment.wiring, goldens={}))
        assert result.verdict is Verdict.UNPROVEN
        assert "documents" in bad(result)["recovery-point", ""][1]
        assert "it was not stored" in bad(result)["restore", "documents"][1]
        assert verdict_of(result, "engine:chat")[0] is Verdict.PROVEN, "the rest was drilled"

    def test_an_old_point_breaks_the_rpo(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        now = vault.clock.now()
        vault.clock = SteppingClock(now + timedelta(hours=25))
        result = vault.drill(deployment.wiring)
        assert bad(result).keys() == {("rpo", "")}
        assert bad(result)["rpo", ""][0] is Verdict.FAILED


class TestScratch:
    """Where a drill restores to."""

    def test_leftovers_are_swept_and_told(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        left = vault.base / "scratch" / f"{PREFIX}dead"
        left.mkdir(parents=True)
        (left / MARKER).touch()
        result = vault.drill(deployment.wiring)
        assert verdict_of(result, "leftovers")[1].endswith(f"{PREFIX}dead")
        assert not left.exists()

    def test_a_place_that_touches_something_live_is_refused(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        live = {"models": vault.base / "scratch" / "inner"}
        ports = vault.drill_ports(deployment.wiring)
        refusing = replace(ports, host=replace(vault.scratch_host(), live=live))
        with pytest.raises(RefusedError, match="overlaps with models"):
            run_drill(refusing, DrillRequest(PLAN))

    def test_too_little_space_is_unproven_and_nothing_is_restored(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        ports = replace(vault.drill_ports(deployment.wiring), scratch_free_factor=1e15)
        result = run_drill(ports, DrillRequest(PLAN))
        assert bad(result)["free-space", ""][0] is Verdict.UNPROVEN
        assert result.sources == ()

    def test_a_disk_that_fills_up_is_unproven(
        self, vault: Vault, deployment: FakeDeployment
    ) -> None:
        (deployment.models.path / "big.bin").write_bytes(os.urandom(4 << 20))
        vault.backup()
        with small_disk(vault.base / "scratch", "1m"):
            ports = replace(vault.drill_ports(deployment.wiring), scratch_free_factor=0.0)
            result = run_drill(ports, DrillRequest(PLAN))
            left = list((vault.base / "scratch").iterdir())
        assert bad(result)["restore", "models"] == (Verdict.UNPROVEN, FULL)
        assert not [check for check in result.checks if check.verdict is Verdict.FAILED]
        assert left == []

    def test_two_drills_of_one_plan_exclude_each_other(
        self, vault: Vault, deployment: FakeDeployment, point: str
    ) -> None:
        def second(asked: str) -> None:
            with pytest.raises(UnavailableError, match="is already at it"):
                vault.drill(deployment.wiring)

        deployment.chat.before = second
        assert vault.drill(deployment.wiring).verdict is Verdict.PROVEN
