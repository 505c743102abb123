"""What the doctor says of each thing, with the next step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from llmvault.core.errors import PolicyError, UnavailableError
from llmvault.core.ids import RandomIds
from llmvault.core.process import Command, Completed, LocalRunner, Process
from llmvault.core.verdict import Verdict
from llmvault.doctor.model import Diagnosis
from llmvault.doctor.run import DoctorPorts, run_doctor
from llmvault.drill.hosts.local import LocalHost
from llmvault.restic.repo import Repository
from llmvault.sources.interface import Finding
from tests.fakes.engine import FakeEngine
from tests.fakes.sources import FolderSource
from tests.fakes.stepping_clock import SteppingClock
from tests.vault import write_tree


@dataclass
class Scripted:
    """Answers by program name; a program without an answer is not installed."""

    answers: dict[str, str] = field(
        default_factory=lambda: {"restic": '{"version": "0.18.0"}', "timedatectl": "yes\n"}
    )

    def run(
        self, command: Command, *, stdin: bytes | None = None, timeout: float | None = None
    ) -> Completed:
        if command.argv[0] not in self.answers:
            raise UnavailableError(command.argv[0], "is not installed or not on PATH")
        return Completed(command.argv, 0, self.answers[command.argv[0]], "")

    def start(self, command: Command, *, stdin: bool = False, log: Path | None = None) -> Process:
        return LocalRunner(dict(os.environ)).start(command, stdin=stdin, log=log)


@pytest.fixture
def ports(tmp_path: Path) -> DoctorPorts:
    root = write_tree(tmp_path / "live", {"model.bin": b""})
    return DoctorPorts(
        clock=SteppingClock(),
        runner=Scripted(),
        restic="restic",
        state=tmp_path / "home" / "state",
        repositories={},
        sources={"models": FolderSource("models", root)},
        engines={"chat": FakeEngine("chat")},
        host=LocalHost(tmp_path / "scratch", RandomIds(), {}),
    )


def found(ports: DoctorPorts) -> dict[str, Diagnosis]:
    return {diagnosis.subject: diagnosis for diagnosis in run_doctor(ports)}


def test_all_is_well(ports: DoctorPorts) -> None:
    diagnoses = found(ports)
    assert list(diagnoses) == [
        *("restic", "state directory", "clock"),
        *('source "models"', 'scratch host "local"', 'engine "chat"'),
    ]
    assert {d.verdict for d in diagnoses.values()} == {Verdict.PROVEN}
    assert not [d for d in diagnoses.values() if d.next_step]
    assert ports.state.stat().st_mode & 0o777 == 0o700


def of_version(text: str) -> Scripted:
    return Scripted({"restic": text, "timedatectl": "yes\n"})


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        (Scripted({"timedatectl": "yes\n"}), "is not installed"),
        (of_version('{"version": "0.16.4"}'), "version 0.16.4 is too old"),
        (of_version("hello"), "did not tell its version"),
    ],
)
def test_restic_that_cannot_be_used(ports: DoctorPorts, runner: Scripted, words: str) -> None:
    diagnosis = found(replace(ports, runner=runner))["restic"]
    assert diagnosis.verdict is Verdict.UNPROVEN
    assert words in diagnosis.detail


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ({"timedatectl": "no\n"}, Verdict.FAILED),
        ({"timedatectl": "n/a\n"}, Verdict.UNPROVEN),
        ({}, Verdict.UNPROVEN),
    ],
)
def test_a_clock_that_nobody_keeps(
    ports: DoctorPorts, answers: dict[str, str], verdict: Verdict
) -> None:
    runner = Scripted({"restic": '{"version": "0.18.0"}', **answers})
    diagnosis = found(replace(ports, runner=runner))["clock"]
    assert diagnosis.verdict is verdict
    assert diagnosis.next_step


def test_a_state_directory_that_others_can_read(ports: DoctorPorts) -> None:
    ports.state.mkdir(parents=True)
    ports.state.chmod(0o755)
    diagnosis = found(ports)["state directory"]
    assert (diagnosis.verdict, diagnosis.next_step) == (Verdict.FAILED, f"chmod 700 {ports.state}")


def test_a_state_directory_that_cannot_be_made(ports: DoctorPorts, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    diagnosis = found(replace(ports, state=tmp_path / "file" / "state"))["state directory"]
    assert (diagnosis.verdict, diagnosis.next_step) == (Verdict.FAILED, "set LLMVAULT_STATE")


def test_a_repository_whose_password_cannot_be_had(ports: DoctorPorts) -> None:
    def refuse() -> Repository:
        raise PolicyError("secret env:PASSWORD", "the variable is not set", "export PASSWORD")

    diagnosis = found(replace(ports, repositories={"primary": refuse}))['repository "primary"']
    assert (diagnosis.verdict, diagnosis.next_step) == (Verdict.FAILED, "export PASSWORD")


def test_a_source_that_is_not_there(ports: DoctorPorts, tmp_path: Path) -> None:
    sources = {"models": FolderSource("models", tmp_path / "absent")}
    diagnosis = found(replace(ports, sources=sources))['source "models"']
    assert diagnosis.verdict is Verdict.UNPROVEN


@pytest.mark.parametrize(
    ("severity", "verdict"),
    [("failed", Verdict.FAILED), ("unproven", Verdict.UNPROVEN), ("warning", Verdict.PROVEN)],
)
def test_findings_of_a_source(
    ports: DoctorPorts, tmp_path: Path, severity: str, verdict: Verdict
) -> None:
    finding = Finding("header-truncated", "a", "it is cut short", severity)
    source = FolderSource("models", tmp_path / "live", findings=(finding,))
    diagnosis = found(replace(ports, sources={"models": source}))['source "models"']
    assert (diagnosis.verdict, diagnosis.detail) == (verdict, "it is cut short")


def test_a_scratch_host_that_touches_something_live(ports: DoctorPorts, tmp_path: Path) -> None:
    host = LocalHost(tmp_path / "live", RandomIds(), {"models": tmp_path / "live"})
    diagnosis = found(replace(ports, host=host))['scratch host "local"']
    assert diagnosis.verdict is Verdict.FAILED


def test_an_engine_that_is_not_installed(ports: DoctorPorts) -> None:
    engine = FakeEngine("chat")
    engine.missing = "it is not installed"
    diagnosis = found(replace(ports, engines={"chat": engine}))['engine "chat"']
    assert (diagnosis.verdict, diagnosis.detail) == (Verdict.UNPROVEN, "it is not installed")
    assert diagnosis.next_step
