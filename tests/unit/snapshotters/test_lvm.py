"""What the LVM snapshotter asks of LVM's commands, and what it makes of the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.snapshotters.interface import Making, Part, SnapshotterPorts, Volume
from llmvault.snapshotters.lvm import LvmSnapshotter
from llmvault.snapshotters.mounts import Mount
from tests.fakes.recorded_runner import Answer, RecordedRunner
from tests.fakes.stepping_clock import SteppingClock

NAME = "llmvault-snapshot-rp-1"
MOUNT = Mount(Path("/srv"), "/", "xfs", "/dev/mapper/vg-data")


def lvs(**changed: str) -> Answer:
    row = {
        "vg_name": "vg",
        "lv_name": "data",
        "lv_uuid": "Ow0eYA",
        "lv_attr": "-wi-ao----",
        "origin": "",
        "data_percent": "",
        "lv_size": "134217728",
        "vg_free": "67108864",
    }
    return Answer("  " + "|".join({**row, **changed}.values()) + "\n")


SNAPSHOT = lvs(lv_name=f"{NAME}-0", origin="data", lv_attr="swi-aos---", data_percent="1.25")


def snapshotter(runner: RecordedRunner) -> LvmSnapshotter:
    return LvmSnapshotter(SnapshotterPorts(runner, SteppingClock(), lambda: (MOUNT,)))


def take(runner: RecordedRunner, place: Path, mount: Mount = MOUNT) -> tuple[Part, list[str]]:
    intended: list[str] = []
    volume = Volume(mount.point, mount, (mount.point,))
    making = Making(NAME, place, intended.append)
    (part,) = snapshotter(runner).take([volume], making).parts
    return part, intended


def test_a_snapshot_volume_is_made_and_mounted_read_only(tmp_path: Path) -> None:
    runner = RecordedRunner({"lvs": [lvs()]})
    part, intended = take(runner, tmp_path)
    place = tmp_path / f"{NAME}-0"
    assert intended == [f"vg/{NAME}-0"]
    assert runner.asked[1:] == [
        f"lvcreate --snapshot --name {NAME}-0 --extents 10%ORIGIN vg/data",
        f"mount -t xfs -o ro,nouuid /dev/vg/{NAME}-0 {place}",
    ]
    assert (part.top, part.path) == (Path("/srv"), place)
    assert part.facts == {
        "snapshot": f"vg/{NAME}-0",
        "origin": "data",
        "origin_uuid": "Ow0eYA",
    }


def test_what_it_claims() -> None:
    room, none = RecordedRunner({"lvs": [lvs()]}), RecordedRunner({"lvs": [lvs(vg_free="0")]})
    assert snapshotter(room).claims(MOUNT) == ""
    assert "has no room" in snapshotter(none).claims(MOUNT)
    plain = Mount(Path("/"), "/", "ext4", "/dev/vda")
    assert "no logical volume" in snapshotter(RecordedRunner()).claims(plain)
    crypt = RecordedRunner({"lvs": [Answer(stderr="Failed to find", exit_code=5)]})
    assert "Failed to find" in snapshotter(crypt).claims(MOUNT)


def test_a_part_of_a_filesystem_has_no_snapshot() -> None:
    part = Mount(Path("/srv"), "/sub", "xfs", "/dev/mapper/vg-data")
    with pytest.raises(UnavailableError, match="shows only a part"):
        snapshotter(RecordedRunner()).top(Path("/srv"), part)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ('Volume group "vg" has insufficient free space (0 extents): 4 required.', "free space"),
        ("/run/lock/lvm/V_vg: open failed: Permission denied", "run as root"),
    ],
)
def test_a_snapshot_that_is_refused(tmp_path: Path, said: str, step: str) -> None:
    runner = RecordedRunner({"lvs": [lvs()], "lvcreate": [Answer(stderr=said, exit_code=5)]})
    with pytest.raises(UnavailableError) as error:
        take(runner, tmp_path)
    assert said in error.value.cause
    assert step in error.value.next_step


def test_destroying_removes_the_snapshot_volume() -> None:
    runner = RecordedRunner({"lvs": [SNAPSHOT]})
    snapshotter(runner).destroy(f"vg/{NAME}-0")
    assert runner.asked[-1] == f"lvremove --yes vg/{NAME}-0"


def test_what_is_gone_is_no_error() -> None:
    said = f'Failed to find logical volume "vg/{NAME}-0"'
    runner = RecordedRunner({"lvs": [Answer(stderr=said, exit_code=5)]})
    snapshotter(runner).destroy(f"vg/{NAME}-0")
    assert len(runner.asked) == 1


def test_a_volume_that_is_no_snapshot_is_kept_whatever_its_name() -> None:
    runner = RecordedRunner({"lvs": [lvs(lv_name=f"{NAME}-0")]})
    with pytest.raises(UnavailableError, match="no snapshot of a volume"):
        snapshotter(runner).destroy(f"vg/{NAME}-0")
    assert len(runner.asked) == 1


@pytest.mark.parametrize("handle", ["vg/data", "vg", "", f"{NAME}", "vg/"])
def test_nothing_else_is_ever_removed(handle: str) -> None:
    runner = RecordedRunner()
    with pytest.raises(RefusedError):
        snapshotter(runner).destroy(handle)
    assert runner.asked == []


def test_a_snapshot_that_ran_full_is_told() -> None:
    def spoiled(answer: Answer) -> str:
        return snapshotter(RecordedRunner({"lvs": [answer]})).spoiled(f"vg/{NAME}-0")

    assert spoiled(SNAPSHOT) == ""
    assert "ran full" in spoiled(lvs(origin="data", lv_attr="swi-Ios---", data_percent="100.00"))
    assert "ran full" in spoiled(lvs(origin="data", lv_attr="swi-aos---", data_percent="100.00"))
