"""What every source driver must do; bind it by subclassing in a ``test_*.py`` file.

    class TestChroma(SourceContract):
        @pytest.fixture
        def example(self, tmp_path): return SourceExample(ChromaStore(...), files=..., ...)

        @pytest.fixture
        def missing(self, tmp_path): return ChromaStore(... nothing there ...)

        def damage(self, restored): ...

Fixtures may be overridden with a wider scope: the suite never changes the live source. A driver
that also opens its store, or finds models, binds :class:`OpensContract` or
:class:`LocatesModelContract` as a further base.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from llmvault.core.canonical import canonical_bytes
from llmvault.core.clock import SystemClock
from llmvault.core.entries import Entry
from llmvault.core.errors import UnavailableError, VaultError
from llmvault.core.files import entry_of, list_tree
from llmvault.core.process import LocalRunner
from llmvault.core.secrets import SecretResolver
from llmvault.core.verdict import Check, Verdict, combine
from llmvault.sources.exclusion import left_out
from llmvault.sources.interface import (
    Capture,
    LocatesModel,
    Observation,
    Opens,
    OpenStore,
    Source,
    SourcePorts,
    StreamCapture,
    TreeCapture,
)
from llmvault.sources.stores.files import clone_file

SEVERITIES = {"failed", "unproven", "warning"}
_MACHINE_NAME = re.compile(r"[a-z0-9][a-z0-9@._-]*")


@dataclasses.dataclass(frozen=True, slots=True)
class SourceExample:
    """A healthy live source, and what a driver must find in it.

    Attributes:
        source: the driver under test.
        files: paths that must be in a capture (relative to its root), or the name of a stream.
        models: names of models that must be observed.
        collections: names of collections that must be observed.
        directory: where the live source lies; its bytes must not change. None for a server.
        secrets: texts that must show nowhere.
    """

    source: Source
    files: frozenset[str]
    models: frozenset[str] = frozenset()
    collections: frozenset[str] = frozenset()
    directory: Path | None = None
    secrets: tuple[str, ...] = ()


class SourceContract:
    """The suite. A subclass supplies ``example``, ``missing`` and ``damage``."""

    @pytest.fixture
    def example(self) -> SourceExample:
        """Return a healthy live source."""
        raise NotImplementedError

    @pytest.fixture
    def missing(self) -> Source:
        """Return the driver of a source that is not there."""
        raise NotImplementedError

    def damage(self, restored: Path) -> None:
        """Damage restored files in a way that the driver's own check must find."""
        raise NotImplementedError

    def fingerprint(self, example: SourceExample) -> object:
        """Return a value that differs when the live source has been changed."""
        return fingerprint_tree(example.directory) if example.directory else None

    def assert_released(self, example: SourceExample) -> None:
        """Assert that no lock, process or snapshot of a capture is left; by default nothing."""

    def test_it_names_itself(self, example: SourceExample) -> None:
        assert re.fullmatch(r"[a-z0-9_]+", example.source.kind)
        assert example.source.name

    def test_its_location_is_told_without_secrets(self, example: SourceExample) -> None:
        location = example.source.location()
        assert location
        assert not [secret for secret in example.secrets if secret in location]

    def test_observing_changes_nothing(self, example: SourceExample) -> None:
        before = self.fingerprint(example)
        example.source.observe()
        assert self.fingerprint(example) == before

    def test_observing_twice_gives_the_same(self, example: SourceExample) -> None:
        assert example.source.observe() == example.source.observe()

    def test_an_observation_is_json_without_secrets(self, example: SourceExample) -> None:
        text = canonical_bytes(as_json(example.source.observe())).decode()
        assert not [secret for secret in example.secrets if secret in text]

    def test_findings_are_well_formed_and_none_is_grave(self, example: SourceExample) -> None:
        for finding in example.source.observe().findings:
            assert _MACHINE_NAME.fullmatch(finding.name), finding
            assert finding.severity in SEVERITIES, finding
            assert finding.detail, finding
            assert finding.severity == "warning", f"the example is healthy, but: {finding}"

    def test_it_sees_what_is_there(self, example: SourceExample, tmp_path: Path) -> None:
        observation, _ = captured_once(self, example, tmp_path / "restored", tmp_path)
        assert {model.name for model in observation.models} >= example.models
        assert {found.name for found in observation.collections} >= example.collections

    def test_a_capture_holds_every_expected_file(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        restored = tmp_path / "restored"
        captured_once(self, example, restored, tmp_path)
        assert example.files
        for path in example.files:
            assert (restored / path).is_file(), f"{path} is not in the capture"

    def test_known_digests_belong_to_captured_files(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        restored = tmp_path / "restored"
        _, known = captured_once(self, example, restored, tmp_path)
        for path, expected in known.items():
            assert entry_of(restored, path).kind == "file"
            assert hashlib.sha256((restored / path).read_bytes()).hexdigest() == expected

    def test_a_capture_changes_nothing_and_is_released(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        before = self.fingerprint(example)
        capture_into(example.source, tmp_path / "restored", tmp_path)
        self.assert_released(example)
        assert self.fingerprint(example) == before

    def test_a_capture_is_released_when_its_reader_fails(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        with (
            pytest.raises(_ReaderFailedError),
            example.source.capture(_staging(tmp_path, "first")),
        ):
            raise _ReaderFailedError
        self.assert_released(example)
        capture_into(example.source, tmp_path / "again", tmp_path)
        self.assert_released(example)

    def test_leaving_a_capture_twice_is_harmless(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        context = example.source.capture(_staging(tmp_path, "staging"))
        context.__enter__()
        context.__exit__(None, None, None)
        context.__exit__(None, None, None)
        self.assert_released(example)

    def test_what_was_captured_checks_out(self, example: SourceExample, tmp_path: Path) -> None:
        restored = tmp_path / "restored"
        recorded, _ = captured_once(self, example, restored, tmp_path)
        checks = example.source.check(restored, through_json(recorded))
        _assert_well_formed(checks, example.source)
        assert not [check for check in checks if check.verdict is not Verdict.PROVEN]

    def test_damage_is_found(self, example: SourceExample, tmp_path: Path) -> None:
        restored = tmp_path / "restored"
        recorded, _ = captured_once(self, example, restored, tmp_path)
        self.damage(restored)
        checks = example.source.check(restored, through_json(recorded))
        _assert_well_formed(checks, example.source)
        assert [check for check in checks if check.verdict is Verdict.FAILED]

    def test_nothing_restored_is_never_proven(self, example: SourceExample, tmp_path: Path) -> None:
        restored = tmp_path / "restored"
        recorded, _ = captured_once(self, example, restored, tmp_path)
        empty = tmp_path / "empty"
        empty.mkdir()
        checks = example.source.check(empty, through_json(recorded))
        _assert_well_formed(checks, example.source)
        assert combine(check.verdict for check in checks) is not Verdict.PROVEN

    def test_nothing_recorded_is_never_proven(self, example: SourceExample, tmp_path: Path) -> None:
        restored = tmp_path / "restored"
        captured_once(self, example, restored, tmp_path)
        checks = example.source.check(restored, Observation())
        _assert_well_formed(checks, example.source)
        assert combine(check.verdict for check in checks) is not Verdict.PROVEN

    def test_a_missing_source_is_unavailable(self, missing: Source) -> None:
        with pytest.raises(UnavailableError) as raised:
            missing.observe()
        assert raised.value.thing
        assert raised.value.cause

    def test_a_missing_source_is_not_captured(self, missing: Source, tmp_path: Path) -> None:
        with pytest.raises(VaultError):
            capture_into(missing, tmp_path / "restored", tmp_path)


class LocatesModelContract:
    """For drivers that find models; a subclass supplies ``model`` beside ``example``."""

    @pytest.fixture
    def model(self) -> str:
        """Return the name of a model in the example."""
        raise NotImplementedError

    def test_a_model_is_located_in_restored_files(
        self, example: SourceExample, model: str, tmp_path: Path
    ) -> None:
        restored = tmp_path / "restored"
        capture_into(example.source, restored, tmp_path)
        assert isinstance(example.source, LocatesModel)
        path = example.source.model_path(restored, model)
        assert path.is_relative_to(restored)
        assert path.exists()

    def test_an_absent_model_is_unavailable(
        self, example: SourceExample, model: str, tmp_path: Path
    ) -> None:
        assert isinstance(example.source, LocatesModel)
        with pytest.raises(UnavailableError):
            example.source.model_path(tmp_path, model)


class OpensContract:
    """For drivers whose store answers, live and restored; binds to the same ``example``."""

    def test_the_restored_store_says_what_the_live_one_says(
        self, example: SourceExample, tmp_path: Path
    ) -> None:
        restored = tmp_path / "restored"
        captured_once(self, example, restored, tmp_path)
        assert isinstance(example.source, Opens)
        with example.source.open_live() as live:
            before = {found.name: found for found in live.describe()}
            answers = _nearest_to_samples(live)
        with example.source.open_restored(restored, _staging(tmp_path, "scratch")) as again:
            after = {found.name: found for found in again.describe()}
            assert {name: found.count for name, found in after.items()} == {
                name: found.count for name, found in before.items()
            }
            assert {name: dict(found.sample_digests) for name, found in after.items()} == {
                name: dict(found.sample_digests) for name, found in before.items()
            }
            assert _nearest_to_samples(again) == answers
        assert before


@dataclasses.dataclass(frozen=True)
class _Captured:
    """A capture that is not written to: tests get copies."""

    root: Path
    observation: Observation
    known: Mapping[str, str]


_CAPTURES: dict[tuple[type, str], _Captured] = {}


def captured_once(
    suite: object, example: SourceExample, target: Path, tmp_path: Path
) -> tuple[Observation, Mapping[str, str]]:
    """As :func:`capture_into`; of one live source the first capture serves all tests of a suite.

    What is new in another capture is for the tests that capture themselves.
    """
    key = (type(suite), example.source.location())
    if key not in _CAPTURES or not _CAPTURES[key].root.is_dir():
        root = tmp_path / "captured"
        observation, known = capture_into(example.source, root, tmp_path)
        _CAPTURES[key] = _Captured(root, observation, known)
    found = _CAPTURES[key]
    subprocess.run(("cp", "-a", f"{found.root}/.", str(target)), check=True)
    return found.observation, found.known


class _ReaderFailedError(Exception):
    """Stands for restic failing in the middle."""


def local_ports(environment: Mapping[str, str] | None = None) -> SourcePorts:
    """Return the ports of this machine."""
    variables = dict(os.environ) if environment is None else dict(environment)
    runner = LocalRunner(variables)
    return SourcePorts(runner, SecretResolver(variables, runner), SystemClock())


def capture_into(
    source: Source, target: Path, tmp_path: Path
) -> tuple[Observation, Mapping[str, str]]:
    """Observe, capture and copy a source as a backup would; return what goes into the manifest."""
    observation = source.observe()
    with source.capture(_staging(tmp_path, "staging")) as capture:
        copy_capture(capture, target)
        known = capture.known_sha256 if isinstance(capture, TreeCapture) else {}
        return capture.observation or observation, known


def copy_capture(capture: Capture, target: Path) -> None:
    """Copy what a capture offers, as a backup followed by a restore would."""
    target.mkdir(parents=True)
    if isinstance(capture, StreamCapture):
        with (target / capture.filename).open("wb") as stream:
            for chunk in capture.chunks:
                stream.write(chunk)
        return
    for entry in captured_entries(capture):
        _copy_entry(capture.root, entry, target)


def captured_entries(capture: TreeCapture) -> Iterator[Entry]:
    """Yield the entries that a tree capture offers, parents before what is in them."""
    wanted = None if capture.paths is None else set(capture.paths)
    dropped: list[str] = []
    for entry in list_tree(capture.root, on_error=_raise):
        inside_dropped = any(entry.path.startswith(f"{parent}/") for parent in dropped)
        if inside_dropped or left_out(entry.path, capture.exclude):
            dropped.append(entry.path)
        elif wanted is None or _is_wanted(entry, wanted):
            yield entry


def _is_wanted(entry: Entry, wanted: set[str]) -> bool:
    parts = entry.path.split("/")
    above = {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    leads_there = any(path.startswith(f"{entry.path}/") for path in wanted)
    return bool(above & wanted) or (entry.kind == "dir" and leads_there)


def _raise(path: str, error: OSError) -> None:
    raise error


def _copy_entry(root: Path, entry: Entry, target: Path) -> None:
    place = target / entry.path
    if entry.kind == "symlink":
        place.symlink_to(entry.target)
    elif entry.kind == "dir":
        place.mkdir()
        place.chmod(entry.mode)
    elif entry.kind == "file":
        clone_file(root / entry.path, place)  # with its holes
        place.chmod(entry.mode)
        os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns))
    else:
        return
    if os.geteuid() == 0:
        os.lchown(place, entry.uid, entry.gid)


def fingerprint_tree(root: Path) -> object:
    """Return every name below a directory with its metadata and the digest of its content."""
    found = []
    for entry in list_tree(root, on_error=_raise):
        content = (root / entry.path).read_bytes() if entry.kind == "file" else b""
        # reading may update nothing but the access time, which is not in an Entry
        found.append((entry, hashlib.sha256(content).hexdigest()))
    return found


def as_json(value: object) -> object:
    """Return an observation as JSON values; anything else in it is an error."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        assert all(isinstance(key, str) for key in value), value
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    assert value is None or isinstance(value, str | int | float | bool), repr(value)
    return value


def through_json(observation: Observation) -> Observation:
    """Return an observation as it is when read back from a manifest: details hold lists only."""
    details = as_json(observation.details)
    assert isinstance(details, dict)
    return dataclasses.replace(observation, details=details)


def _staging(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


def _assert_well_formed(checks: tuple[Check, ...], source: Source) -> None:
    assert checks
    for check in checks:
        assert _MACHINE_NAME.fullmatch(check.name), check
        assert check.source == source.name, check
        assert check.detail, check


def _nearest_to_samples(store: OpenStore) -> dict[tuple[str, str], tuple[str, ...]]:
    answers = {}
    for found in store.describe():
        for record, vector in found.sample_vectors.items():
            nearest = store.search(found.name, tuple(vector), 1)
            assert nearest, f"{found.name} finds nothing near its own record {record}"
            answers[found.name, record] = nearest
    return answers
