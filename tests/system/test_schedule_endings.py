"""The scheduler ended by SIGTERM and by kill -9 before every step it takes; the next one goes on.

Every phase is met: start-up, a run that is claimed and not yet started, one that goes on, one whose
outcome is being recorded, waiting, a reload of the policy, and the end itself.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.fakes.stepped import Ending, Stepped, start
from tests.system.deployment import Deployment, make_small
from tests.system.test_schedule import until

pytestmark = pytest.mark.system
# due once in ten years, and declared before that: one run, caught up
POLICY = "jobs: {backups: {kind: backup, every: 3650d, grace: 9d, limit: LIMIT}}\n"
OLD, NEW = POLICY.replace("LIMIT", "1h"), POLICY.replace("LIMIT", "2h")
DECLARED = {
    "jobs": {"backups": {"declared": "1995-01-01T00:00:00.000Z", "runs": []}},
    "pending": [],
}
# what a scheduler starts instead of a backup: it notes that it began and ended
BACKUP = """#!/bin/sh
echo "begun $$" >>{base}/ran
while [ -e {base}/hold ]; do sleep 0.05; done
echo "ended $$" >>{base}/ran
"""


@dataclass(frozen=True)
class Host:
    """A deployment whose backups take no time."""

    deployment: Deployment

    @property
    def base(self) -> Path:
        return self.deployment.base

    @property
    def journal(self) -> Path:
        return self.deployment.state / "schedule" / "journal.json"

    def start(self, *options: str, ending: Ending | None = None) -> Stepped:
        variables = self.deployment.variables({"STEPPED_LOG": str(self.base / "log")})
        arguments = ("schedule", "run", "--heartbeat", "1h", *options)
        return start(arguments, variables, program=str(self.base / "backup"), ending=ending)

    def policy(self, text: str) -> None:
        self.deployment.override(text)

    def runs(self) -> list[tuple[str, int]]:
        """Return outcome and attempt of each run that the catalog has."""
        database = sqlite3.connect(self.deployment.state / "catalog.sqlite", timeout=30)
        try:
            return database.execute("select outcome, attempt from job_run").fetchall()
        finally:
            database.close()

    def children(self, word: str = "begun") -> list[int]:
        """Return the process ids of the backups that began, or ended."""
        file = self.base / "ran"
        lines = file.read_text().splitlines() if file.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(word)]

    def knows_the_outcome(self) -> bool:
        """Whether anything durable says that the run has ended well."""
        told = json.loads(self.journal.read_text())
        runs = [*told["pending"], *told["jobs"]["backups"]["runs"]]
        outcomes = {run["outcome"] for run in runs} | {outcome for outcome, _ in self.runs()}
        return "proven" in outcomes

    def knows_a_run(self) -> bool:
        """Whether anything durable says that the run was claimed."""
        return bool(self.runs() or json.loads(self.journal.read_text())["pending"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = make_small(tmp_path_factory.mktemp("ended") / "base")
    made.override(OLD)
    assert made.run("init").exit_code == 0  # the catalog and the ledger are there
    (made.state / "schedule").mkdir(mode=0o700, exist_ok=True)
    (made.state / "schedule" / "journal.json").write_text(json.dumps(DECLARED))
    for folder in ("live", "repository"):  # nothing here reads them
        shutil.rmtree(made.base / folder)
    return made


@pytest.fixture
def hosts(template: Deployment, tmp_path: Path) -> Iterator[Host]:
    """Return new hosts, as many as are asked for."""

    def made(number: int) -> Host:
        host = Host(template.copy(tmp_path / str(number)))
        (host.base / "backup").write_text(BACKUP.format(base=host.base))
        (host.base / "backup").chmod(0o755)
        return host

    return map(made, count())


def play(host: Host, ending: Ending) -> tuple[Stepped, str, int]:
    """Run a scheduler until the run is done, change the policy, tell it to end.

    Returns:
        the scheduler, the phase in which it was when it was ended, and how it ended.
    """
    process = host.start(ending=ending)
    asked, reloaded, told = False, False, False
    for step in process.follow():
        if not asked and "journal.json" in step and ("proven", 1) in host.runs():
            host.policy(NEW)
            process.send(signal.SIGHUP)
            asked = True
        reloaded = reloaded or (asked and step.endswith("policy/current"))
        if reloaded and not told and step == "commit host":
            process.send(signal.SIGTERM)
            told = True
    code = process.wait()
    if told:
        phase = "ending"
    elif asked:
        phase = "reloading"
    elif host.knows_a_run():
        phase = "recording" if host.children("ended") else "claimed"
    else:
        phase = "start-up"
    return process, phase, code


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def goes_on(host: Host, where: object) -> None:
    """The next scheduler must find nothing left, and do the run if it was not done."""
    until(lambda: all(map(gone, host.children())), f"no child goes on: {where}")
    known, done = host.knows_the_outcome(), len(host.children("ended"))
    (host.base / "hold").unlink(missing_ok=True)
    process = host.start("--json")
    told = False
    for step in process.follow():
        if not told and step == "commit host" and [one for one, _ in host.runs()] == ["proven"]:
            process.send(signal.SIGTERM)
            told = True
    assert process.wait() == 0, (where, process.told, (host.base / "log").read_text())
    (run,) = host.runs()
    assert run[0] == "proven", (where, run)
    again = len(host.children("ended")) - done
    assert again == (0 if known else 1), (where, "done again though its outcome was recorded", run)
    assert run[1] <= 2, (where, "one ending costs one attempt", run)
    assert json.loads(host.journal.read_text())["pending"] == [], where
    current = (host.deployment.state / "schedule" / "policy" / "current").read_text()
    copied = host.deployment.state / "schedule" / "policy" / current
    for file in host.deployment.policies.rglob("*.yaml"):
        there = copied / file.relative_to(host.deployment.policies)
        assert there.read_bytes() == file.read_bytes(), (where, "the policy in force is whole")


def steps_of(host: Host) -> list[tuple[int, str]]:
    """Return number and words of the steps that a scheduler takes, copied files left out."""
    process, _, code = play(host, Ending(0, signal.SIGKILL))
    assert code == 0
    return [one for one in enumerate(process.told, 1) if not one[1].endswith(".yaml")]


def test_killed_before_a_step_it_leaves_what_the_next_one_understands(
    hosts: Iterator[Host],
) -> None:
    phases = set()
    for (step, words), host in zip(steps_of(next(hosts)), hosts, strict=False):
        _, phase, code = play(host, Ending(step, signal.SIGKILL))
        assert code == -signal.SIGKILL, (step, words)
        goes_on(host, (step, words, phase))
        phases.add(phase)
    assert phases >= {"start-up", "claimed", "recording", "reloading"}


def test_told_to_end_before_a_step_it_ends_well(hosts: Iterator[Host]) -> None:
    steps = steps_of(next(hosts))
    claim = next(step for step, words in steps if words == "commit job_run")
    for (step, words), host in zip(steps[::3], hosts, strict=False):
        _, phase, code = play(host, Ending(step, signal.SIGTERM))
        # as long as it does not listen to signals yet, they end it as they end any program
        allowed = {0} if step >= claim else {0, -signal.SIGTERM}
        assert code in allowed, (step, words, (host.base / "log").read_text())
        goes_on(host, (step, words, phase))


def begun(host: Host, *options: str, ending: Ending | None = None) -> Stepped:
    """Return a scheduler whose run goes on until it is stopped."""
    (host.base / "hold").touch()
    process = host.start(*options, ending=ending)
    until(host.children, "the run begins")
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=str)
def test_ended_while_a_run_goes_on(hosts: Iterator[Host], number: signal.Signals) -> None:
    host = next(hosts)
    process = begun(host, "--finish-within", "0s")
    process.send(number)
    assert process.wait() == (-number if number == signal.SIGKILL else 0)
    assert [one for one, _ in host.runs()] == [
        "running" if number == signal.SIGKILL else "interrupted"
    ]
    goes_on(host, number)


def test_killed_while_it_ends(hosts: Iterator[Host]) -> None:
    """Told to end, it stops its run and records that; it is killed before each of these steps."""
    first = next(hosts)
    process = begun(first, "--finish-within", "0s")
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    starts = [number for number, step in enumerate(process.told, 1) if step.startswith("start ")]
    goes_on(first, "ending")
    for step, host in zip(range(starts[0] + 1, len(process.told) + 1), hosts, strict=False):
        ended = begun(host, "--finish-within", "0s", ending=Ending(step, signal.SIGKILL))
        ended.send(signal.SIGTERM)
        assert ended.wait() == -signal.SIGKILL
        goes_on(host, ("ending", step))


def test_killed_while_it_waits(hosts: Iterator[Host]) -> None:
    host = next(hosts)
    process = host.start()
    for step in process.follow():
        if step == "commit host" and [one for one, _ in host.runs()] == ["proven"]:
            process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    goes_on(host, "waiting")


# a setpriv that only gets the processor once whoever started it is gone
LATE = """#!/bin/sh
echo "begun $$" >>{base}/ran
while [ -d /proc/$PPID ] && [ "$(cut -d' ' -f3 /proc/$PPID/stat)" != Z ]; do sleep 0.02; done
exec {setpriv} "$@"
"""


def test_a_child_that_comes_after_the_kill_does_nothing(
    template: Deployment, tmp_path: Path
) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("not run: util-linux has no setpriv here")
    host = Host(template.copy(tmp_path / "late"))
    programs = host.base / "programs"
    programs.mkdir()
    (programs / "setpriv").write_text(LATE.format(base=host.base, setpriv=setpriv))
    (programs / "setpriv").chmod(0o755)
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    process = host.deployment.start("schedule", "run", more=path)
    until(host.children, "the run begins")
    process.kill()
    process.wait()
    host.deployment.wait_until_still()
    (log,) = (host.deployment.state / "logs" / "jobs" / "backups").iterdir()
    assert log.read_text() == "", "not a word, not even that the repository is not there"
