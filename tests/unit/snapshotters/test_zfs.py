"""What the ZFS snapshotter asks of ``zfs``, and what it makes of the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.snapshotters.interface import Making, SnapshotterPorts, Taken, Volume
from llmvault.snapshotters.mounts import Mount
from llmvault.snapshotters.zfs import ZfsSnapshotter
from llmvault.snapshotters.zfs_reading import parse_datasets
from tests.fakes.recorded_runner import Answer, RecordedRunner
from tests.fakes.stepping_clock import SteppingClock

NAME = "llmvault-snapshot-rp-1"
LISTED = (
    "tank\t1795627000\t/tank\tyes\ton\toff\t-\tnone\t-\n"
    "tank/srv\t1795627001\t/tank/srv\tyes\ton\taes-256-gcm\tavailable\traw\ttank/srv\n"
    "tank/srv/deep\t1795627002\t/tank/srv/deep\tyes\ton\taes-256-gcm\tavailable\traw\ttank/srv\n"
    "tank/srv/gone\t1795627003\t/tank/srv/gone\tno\ton\taes-256-gcm\tunavailable\traw\ttank/x\n"
    "tank/srv/off\t1795627003\t/tank/srv/off\tno\toff\toff\t-\tnone\t-\n"
    "tank/vol\t1795627004\t-\t-\t-\toff\t-\tnone\t-\n"
)
POOLED = "tank\t402653184\t1048576\t401604608\t-\t0\t0\tONLINE\n"
MOUNTS = (
    Mount(Path("/"), "/", "ext4", "/dev/vda"),
    Mount(Path("/tank"), "/", "zfs", "tank"),
    Mount(Path("/tank/srv"), "/", "zfs", "tank/srv"),
    Mount(Path("/tank/srv/deep"), "/", "zfs", "tank/srv/deep"),
    Mount(Path("/tank/srv/deep/.zfs/snapshot/x"), "/", "zfs", "tank/srv/deep@x"),
    Mount(Path("/export"), "/sub", "zfs", "tank/srv"),
)
ANSWERS = {
    "zfs list -Hpr": [Answer(LISTED)],
    "zpool list": [Answer(POOLED)],
    "zfs list -Hp -o guid": [Answer("1234\t77\t1795627100\n")],
}


def snapshotter(runner: RecordedRunner) -> ZfsSnapshotter:
    return ZfsSnapshotter(SnapshotterPorts(runner, SteppingClock(), lambda: MOUNTS))


def take(runner: RecordedRunner, mount: Mount = MOUNTS[2]) -> tuple[Taken, list[str]]:
    intended: list[str] = []

    def intend(handle: str) -> None:
        assert not [line for line in runner.asked if line.startswith("zfs snapshot")]
        intended.append(handle)

    volume = Volume(mount.point, mount, (mount.point,))
    making = Making(NAME, Path("/state"), intend)
    return snapshotter(runner).take([volume], making), intended


def test_all_datasets_below_are_taken_by_one_command_and_held() -> None:
    runner = RecordedRunner(ANSWERS)
    taken, intended = take(runner)
    both = f"tank/srv@{NAME} tank/srv/deep@{NAME}"
    assert intended == both.split()
    assert [line for line in runner.asked if "list" not in line] == [
        f"zfs snapshot {both}",
        f"zfs hold llmvault {both}",
    ]
    assert {part.top: part.path for part in taken.parts} == {
        Path("/tank/srv"): Path(f"/tank/srv/.zfs/snapshot/{NAME}"),
        Path("/tank/srv/deep"): Path(f"/tank/srv/deep/.zfs/snapshot/{NAME}"),
    }


def test_its_facts_tell_the_state_of_encryption() -> None:
    (first, _) = take(RecordedRunner(ANSWERS))[0].parts
    assert first.facts == {
        "snapshot": f"tank/srv@{NAME}",
        "guid": "1234",
        "createtxg": "77",
        "creation": "1795627100",
        "encryption": {
            "encryption": "aes-256-gcm",
            "keystatus": "available",
            "keyformat": "raw",
            "encryptionroot": "tank/srv",
        },
    }


def test_a_dataset_that_belongs_there_and_is_not_mounted_is_told() -> None:
    missing = take(RecordedRunner(ANSWERS))[0].missing
    assert missing == {Path("/tank/srv/gone"): "dataset tank/srv/gone: its key is not loaded"}


def test_a_part_of_a_dataset_that_is_mounted_is_seen_in_its_snapshot() -> None:
    (part,) = take(RecordedRunner(ANSWERS), MOUNTS[5])[0].parts
    assert part.path == Path(f"/tank/srv/.zfs/snapshot/{NAME}/sub")


def test_a_pool_with_a_bookmark_can_be_read() -> None:
    """zfslib cannot read one by itself; it is never shown bookmarks and snapshots."""
    runner = RecordedRunner(ANSWERS)
    take(runner)
    (listing,) = [line for line in runner.asked if line.startswith("zfs list -Hpr")]
    assert "-t filesystem,volume tank" in listing


def test_volumes_and_unmounted_datasets_have_no_place() -> None:
    known = parse_datasets(LISTED, POOLED)
    assert known["tank/vol"].mountpoint is None
    assert known["tank/vol"].encryption == {"encryption": "off", "keyformat": "none"}
    assert not known["tank/srv/gone"].mounted
    assert not known["tank/srv/off"].can_mount


def test_a_listing_that_zfslib_does_not_understand_is_an_error() -> None:
    with pytest.raises(UnavailableError, match="zfslib does not understand"):
        parse_datasets("tank\tone column\n", POOLED)


def test_a_command_that_is_missing() -> None:
    with pytest.raises(UnavailableError) as error:
        take(RecordedRunner({"zfs": None}))
    assert error.value.next_step == "install it: apt-get install zfsutils-linux"


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("cannot create snapshots : permission denied", "zfs allow"),
        (f"cannot create snapshot 'tank/srv@{NAME}': out of space", "free space"),
        (f"cannot create snapshot 'tank/srv@{NAME}': dataset limit exceeded", "remove old"),
    ],
)
def test_a_snapshot_that_is_refused(said: str, step: str) -> None:
    answers = {**ANSWERS, "zfs snapshot": [Answer(stderr=f"{said}\n", exit_code=1)]}
    with pytest.raises(UnavailableError) as error:
        take(RecordedRunner(answers))
    assert said in error.value.cause
    assert step in error.value.next_step


def test_destroying_releases_our_hold_first() -> None:
    runner = RecordedRunner()
    snapshotter(runner).destroy(f"tank/srv@{NAME}")
    assert runner.asked == [
        f"zfs release llmvault tank/srv@{NAME}",
        f"zfs destroy tank/srv@{NAME}",
    ]


def test_destroying_waits_for_a_reader_that_was_just_stopped() -> None:
    busy = Answer(stderr="cannot destroy snapshot: dataset is busy", exit_code=1)
    runner = RecordedRunner({"zfs destroy": [busy, busy, Answer()]})
    snapshotter(runner).destroy(f"tank/srv@{NAME}")
    assert len(runner.asked) == 4


@pytest.mark.parametrize(
    "said",
    [
        "cannot destroy snapshot: dataset is busy",
        "cannot destroy 'tank/srv@x': snapshot has dependent clones",
    ],
)
def test_a_snapshot_that_a_user_needs_is_kept(said: str) -> None:
    runner = RecordedRunner({"zfs destroy": [Answer(stderr=said, exit_code=1)]})
    with pytest.raises(UnavailableError):
        snapshotter(runner).destroy(f"tank/srv@{NAME}")
    assert all(" -" not in line for line in runner.asked), "nothing is ever forced"


def test_what_is_gone_is_no_error() -> None:
    gone = Answer(stderr="could not find any snapshots to destroy; check names", exit_code=1)
    no_tag = Answer(stderr="cannot release: no such tag on this dataset", exit_code=1)
    snapshotter(RecordedRunner({"zfs release": [no_tag], "zfs destroy": [gone]})).destroy(
        f"tank/srv@{NAME}"
    )


@pytest.mark.parametrize("handle", ["tank/srv", "tank/srv@daily", "tank@", NAME, f"@{NAME}", ""])
def test_nothing_else_is_ever_destroyed(handle: str) -> None:
    runner = RecordedRunner()
    if handle == f"@{NAME}":
        snapshotter(runner).destroy(handle)
    else:
        with pytest.raises(RefusedError):
            snapshotter(runner).destroy(handle)
    assert runner.asked == []
