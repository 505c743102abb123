"""Recovering the installation from a repository: what ``llmvault init --recover`` calls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, RefusedError, VaultError
from llmvault.core.files import private_directory
from llmvault.core.ids import Ids
from llmvault.core.verdict import Check, Verdict, combine
from llmvault.keys.note import parse_verifier
from llmvault.keys.store import KeyFiles
from llmvault.ledger.files import LedgerFiles, TileTree
from llmvault.ledger.merkle import tree_root
from llmvault.ledger.model import Entry
from llmvault.ledger.rotation import rotate_key
from llmvault.ledger.verify import Pin, compare_heads, verify_ledger
from llmvault.ledger.witnesses import DirectoryWitness, Witness, pins_of, read_pins
from llmvault.ledger.writer import TileLedger
from llmvault.recovery import history
from llmvault.recovery.found import Holdings, choose, damaged, look
from llmvault.recovery.model import PATIENCE, RecoveryResult, Tail
from llmvault.recovery.pins import heads_told, repository_pins
from llmvault.recovery.place import Marker, Places
from llmvault.recovery.rebuild import lengthen
from llmvault.recovery.tail import file_digests
from llmvault.recovery_points.find import entry_of, local_manifest
from llmvault.recovery_points.memory import Memory
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository

if TYPE_CHECKING:
    from llmvault.catalog.session import Catalog


@dataclass(frozen=True, slots=True)
class RecoveryPorts:
    """What a recovery works with.

    Attributes:
        memory: of the new machine.
        ledger: returns the ledger in the state, for appending.
        catalog: opens the catalog, made anew if there is none.
        witnesses: returns those that the policies in a directory declare.
        others: returns the repositories that the policies in a directory declare.
        decisions: writes again what entries tell of holds, approvals and deletions.
    """

    clock: Clock
    ids: Ids
    places: Places
    repository: Repository
    keys: KeyFiles
    memory: Memory
    ledger: Callable[[], TileLedger]
    catalog: Callable[[], Catalog]
    witnesses: Callable[[Path], Mapping[str, Witness]]
    others: Callable[[Path], Mapping[str, Callable[[], Repository]]]
    decisions: Callable[[Iterable[Entry]], object]


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """What is asked for.

    Attributes:
        pinned: files with a checkpoint, or directories that a witness keeps them in.
        repositories: others of the installation, whose checkpoints are to be continued too.
        origin: which installation; empty when the repository holds one only.
    """

    pinned: tuple[Path, ...] = ()
    repositories: Mapping[str, Callable[[], Repository]] = field(default_factory=dict)
    origin: str = ""


@dataclass(frozen=True, slots=True)
class _Laid:
    """An installation, laid out beside its place.

    Attributes:
        copied: how many of the ledger's entries came with the whole copy, and its catalog.
        policies: names of the files.
    """

    origin: str
    ledger: LedgerFiles
    copied: int
    keys: tuple[str, ...]
    policies: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def run_recovery(ports: RecoveryPorts, request: RecoveryRequest) -> RecoveryResult:
    """Lay an installation out, prove its ledger, and put it in place if nothing failed.

    The signing key is not in a repository, so the ledger goes on with a new one, under which the
    last checkpoint of the old one is entered.

    Raises:
        RefusedError: when something is in place that no recovery put there.
        PolicyError: when the repository holds several installations and none was named.
        UnavailableError: when it cannot be opened, or holds no installation.
        IntegrityError: when what it holds does not fit together.
    """
    marker = ports.places.marker()
    holdings = look(ports.repository)
    copies, tails = holdings.copies(), holdings.tails()
    thing = f'repository "{ports.repository.name}"'
    origin = choose(copies, tails, request.origin, thing)
    if marker and (marker.identity, marker.origin) != (holdings.identity, origin):
        raise RefusedError(
            str(ports.places.state),
            f"another recovery has begun here, of {marker.origin} from repository"
            f" {marker.identity[:8]}",
            "finish that one, or start with an empty state",
        )
    ports.places.clear()
    laid = _lay_out(ports, origin, copies.get(origin), tails.get(origin))
    checks, passed_over = _checks(ports, request, holdings, laid)
    entries = laid.ledger.checkpoint().head.size
    if combine(check.verdict for check in checks) is Verdict.FAILED:
        ports.places.clear()
        return RecoveryResult(
            Verdict.FAILED, origin, entries, 0, 0, laid.policies, checks, False, passed_over
        )
    if marker is None:
        now = ports.clock.now()
        marker = Marker(ports.ids.new("recovery", now), holdings.identity, origin, entries)
        ports.places.mark(marker)
    return replace(_put_in_place(ports, holdings, laid, marker, checks), passed_over=passed_over)


def _lay_out(ports: RecoveryPorts, origin: str, copy: Snapshot | None, tail: Tail | None) -> _Laid:
    place = ports.places.staging
    private_directory(place)
    if copy is not None:
        broken = ports.repository.restore(copy.id, place, on_message=lambda _: None)
        if broken:
            raise damaged(f"the copy {copy.id[:8]}", f"{broken[0].item}: {broken[0].message}")
    ledger = LedgerFiles(place / "ledger")
    copied = ledger.checkpoint().head.size if ledger.exists() else 0
    newer = tail is not None and lengthen(ledger.directory, tail)
    if not ledger.exists():
        raise damaged("the copy of the ledger", "only its end is here, and no whole copy")
    keys = _lines(place / "ledger.pub")
    names = _staged(place / "policies")
    policies = {name: (place / "policies" / name).read_bytes() for name in names}
    if tail is not None:
        keys += tuple(key for key in tail.keys if key not in keys)
        if newer and tail.policies is not None:
            policies = {name: text.encode() for name, text in tail.policies.items()}
    _write_policies(ports.places.staged_policies, policies)
    rows = tuple(json.loads(line) for line in _lines(place / "catalog.jsonl"))
    return _Laid(origin, ledger, copied, keys, tuple(sorted(policies)), rows)


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text().splitlines()) if path.exists() else ()


def _staged(folder: Path) -> tuple[str, ...]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return tuple(sorted(path.relative_to(folder).as_posix() for path in found))


def _write_policies(folder: Path, policies: Mapping[str, bytes]) -> None:
    for name, data in policies.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise damaged("the copy of the policies", f"it names a file outside: {name}")
        private_directory(path.parent)
        path.write_bytes(data)
        path.chmod(0o600)


def _checks(
    ports: RecoveryPorts, request: RecoveryRequest, holdings: Holdings, laid: _Laid
) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    """Return what was checked, and which places that keep checkpoints were not needed."""
    pinned = _pins(ports, request, holdings, laid.origin)
    verifiers = [parse_verifier(line) for line in laid.keys]
    told = [_strict(one) for one in verify_ledger(laid.ledger, verifiers, pinned.pins)]
    history = _history_check(laid, holdings)
    return (*told, *pinned.silent, *history, _policies_check(ports, laid)), pinned.passed_over


def _strict(check: Check) -> Check:
    """Take a pinned checkpoint that no known key signed for what it is here: another history."""
    if check.name != "pinned" or check.verdict is not Verdict.UNPROVEN or not check.source:
        return check
    return replace(check, verdict=Verdict.FAILED)


def _history_check(laid: _Laid, holdings: Holdings) -> Iterator[Check]:
    """Yield whether all copies in this repository tell one story; it is no proof of the newest."""
    heads = heads_told(holdings.snapshots, laid.origin)
    size = laid.ledger.checkpoint().head.size
    tree = TileTree(laid.ledger.directory, size)
    if not heads:
        return
    try:
        roots = {one.size: tree_root(tree, one.size) for one in heads if one.size <= size}
    except VaultError as error:
        yield Check("copies", "", Verdict.FAILED, error.diagnostics())
        return
    verdict, words = compare_heads(heads[0], heads[1:], size, roots)
    if verdict is Verdict.PROVEN:
        words = f"{len(heads)} copies in this repository tell one story"
    else:  # it may come back for all that: what decides is pinned elsewhere
        verdict, words = Verdict.UNPROVEN, f"the copies in this repository do not agree: {words}"
    yield Check("copies", "", verdict, words)


@dataclass(frozen=True, slots=True)
class _Pinned:
    """What places outside have pinned.

    Attributes:
        silent: of places that told nothing, and should have.
        passed_over: of places that told nothing, where others that were named by hand did.
    """

    pins: tuple[Pin, ...]
    silent: tuple[Check, ...]
    passed_over: tuple[Check, ...]


def _pins(
    ports: RecoveryPorts, request: RecoveryRequest, holdings: Holdings, origin: str
) -> _Pinned:
    """Return the checkpoints that were kept outside: those given, and those the policy tells of.

    What was given is enough where the policy's own places cannot be reached from a new machine.
    """
    files = [path for path in request.pinned if not path.is_dir()]
    witnesses: dict[str, Witness] = {
        str(path): DirectoryWitness(path) for path in request.pinned if path.is_dir()
    }
    given, silent = pins_of(witnesses, origin)
    named, quiet = repository_pins(request.repositories, origin, ())
    pins, silent = (*read_pins(files), *given, *named), (*silent, *quiet)
    found, mute = _declared(ports, holdings, origin)
    if not pins:
        return _Pinned(found, (*silent, *mute), ())
    bad = tuple(check for check in mute if check.verdict is Verdict.FAILED)
    away = tuple(check for check in mute if check.verdict is not Verdict.FAILED)
    return _Pinned((*pins, *found), (*silent, *bad), away)


def _declared(
    ports: RecoveryPorts, holdings: Holdings, origin: str
) -> tuple[tuple[Pin, ...], tuple[Check, ...]]:
    """Return what the witnesses and the other repositories of the policy have."""
    folder = ports.places.staged_policies
    try:
        witnesses, others = ports.witnesses(folder), ports.others(folder)
    except VaultError as error:
        cause = f"the witnesses of the policy could not be asked: {error.cause}"
        return (), (Check("witness", "", Verdict.UNPROVEN, cause),)
    pins, silent = pins_of(witnesses, origin)
    others = {name: one for name, one in others.items() if not _is_itself(one, holdings)}
    more, quiet = repository_pins(others, origin, ())
    return (*pins, *more), (*silent, *quiet)


def _is_itself(other: Callable[[], Repository], holdings: Holdings) -> bool:
    """Whether it is the repository that is recovered from, which is no place outside of it."""
    try:
        found = other().with_patience(PATIENCE)
        return found.url == holdings.repository.url or found.config_id() == holdings.identity
    except VaultError:
        return False  # whoever asks it for a checkpoint tells why


def _policies_check(ports: RecoveryPorts, laid: _Laid) -> Check:
    """Return whether the policies are those that the ledger names last."""
    if not laid.policies:
        return Check("policies", "", Verdict.UNPROVEN, "the repository holds no policy files")
    folder = ports.places.staged_policies
    found = file_digests({name: (folder / name).read_bytes() for name in laid.policies})
    named = history.policies_in_force(laid.ledger)
    count = f"{len(laid.policies)} files"
    if named is None:
        detail = f"{count}; the ledger does not tell which were in force"
        return Check("policies", "", Verdict.UNPROVEN, detail)
    index, files = named
    if files != found:
        detail = f"{count}, but not those that entry {index} of the ledger names"
        return Check("policies", "", Verdict.UNPROVEN, detail)
    return Check("policies", "", Verdict.PROVEN, f"{count}, those that entry {index} names")


def _put_in_place(
    ports: RecoveryPorts,
    holdings: Holdings,
    laid: _Laid,
    marker: Marker,
    checks: tuple[Check, ...],
) -> RecoveryResult:
    places = ports.places
    if not ports.keys.public_path.exists():
        ports.keys.replace_public([parse_verifier(line) for line in laid.keys])
    places.put_ledger()
    places.put_state()
    points, drills, problems = _fill_catalog(ports, holdings, laid)
    checks = (*checks, *problems)
    verdict = combine(check.verdict for check in checks)
    _enter(ports, holdings, laid, marker, verdict)
    places.put_policies()  # the last: without them no command runs on what is half in place
    places.done()
    return RecoveryResult(
        verdict, laid.origin, marker.size, points, drills, laid.policies, checks, True
    )


def _fill_catalog(
    ports: RecoveryPorts, holdings: Holdings, laid: _Laid
) -> tuple[int, int, tuple[Check, ...]]:
    """Enter what the copy has, the recovery points in the repository, and the ledger's drills."""
    catalog = ports.catalog()
    reports = ports.places.state / "reports"
    catalog.load(_moved(row, reports) for row in laid.rows)
    known = {point.id for point in catalog.points()}
    bad: list[str] = []
    for point in holdings.points():
        if point in known:
            continue
        try:
            stored = holdings.manifest(point)
        except IntegrityError as error:
            bad.append(f"{point}: {error.cause}")
            continue
        if stored is not None:
            ports.memory.keep_manifest(point, stored.data)
            catalog.add_point(entry_of(stored.manifest))
    ports.decisions(laid.ledger.entries())
    drilled = {drill.id for drill in catalog.drills()}
    for drill in history.drills(laid.ledger, reports):
        if drill.id not in drilled:
            catalog.add_drill(drill)
    for proof in history.proofs(laid.ledger, laid.copied):
        catalog.add_proof(proof)
    counted = len(catalog.points()), len(catalog.drills())
    catalog.close()
    return *counted, tuple(_points_checks(counted[0], bad))


def _moved(one: Mapping[str, Any], reports: Path) -> Mapping[str, Any]:
    """Return a row of the catalog with its report where it is now."""
    row = one.get("row")
    if one.get("table") != "drill" or not isinstance(row, dict) or not row.get("report"):
        return one
    return {**one, "row": {**row, "report": str(reports / Path(str(row["report"])).name)}}


def _points_checks(count: int, bad: Sequence[str]) -> Iterator[Check]:
    if bad:
        detail = f"{len(bad)} cannot be read: {'; '.join(bad[:3])}"
        yield Check("recovery-points", "", Verdict.UNPROVEN, detail)
    else:
        yield Check("recovery-points", "", Verdict.PROVEN, f"{count} are listed again")


def _enter(
    ports: RecoveryPorts, holdings: Holdings, laid: _Laid, marker: Marker, verdict: Verdict
) -> None:
    """Go on with a new key, and write into the ledger what came back from where."""
    ledger = ports.ledger()
    since = {entry.kind: entry for entry in ledger.files.entries(marker.size)}
    if "key.rotated" not in since:
        ports.keys.private_path.unlink(missing_ok=True)  # of a run that died: it signed nothing
        ports.keys.replace_public([parse_verifier(line) for line in laid.keys])
        rotate_key(ledger, ports.keys)
    if "installation.recovered" in since:
        return
    facts = {
        "recovery": marker.id,
        "repository": holdings.identity,
        "entries": marker.size,
        "checkpoint": laid.ledger.checkpoint().note,
        "verdict": verdict.value,
    }
    ends = [("backup.finished", facts) for facts in _ends_of_backups(ports, laid)]
    ledger.append_all([("installation.recovered", facts), *ends])


def _ends_of_backups(ports: RecoveryPorts, laid: _Laid) -> Iterator[dict[str, Any]]:
    """Yield how backups ended whose end the copy of the ledger lacks, as their manifests tell."""
    for point in history.unended_backups(laid.ledger):
        manifest = local_manifest(ports.memory, point)
        if manifest is None:
            continue
        data = ports.memory.manifest_path(point).read_bytes()
        yield {
            "plan": manifest.plan,
            "recovery_point": point,
            "policy": manifest.policy_digest,
            "verdict": manifest.verdict.value,
            "manifest_sha256": hashlib.sha256(data).hexdigest(),
            "told_by": "manifest",
        }
