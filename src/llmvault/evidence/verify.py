"""Verifying a bundle with nothing but the bundle and a public key. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmvault.core.errors import IntegrityError
from llmvault.core.verdict import Check, Verdict, combine
from llmvault.evidence import dsse, proofs
from llmvault.evidence.archive import is_canonical, unpack
from llmvault.evidence.bundle import (
    CHECKPOINT,
    ENTRIES,
    PROOF,
    PUBLIC_KEY,
    SIGNATURE,
    SUMS,
    UNLISTED,
    read_evidence,
    statement_files,
    sums,
)
from llmvault.evidence.kinds import BEGUN, event_of
from llmvault.evidence.ports import SignatureCheck
from llmvault.evidence.proofs import Checkpoint, TlogProof

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Verified:
    """What verifying a bundle established.

    Attributes:
        statements: the predicates whose signature holds; empty when the bundle cannot be read.
        evidence: ``evidence.json``; empty when it cannot be read.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    statements: tuple[Mapping[str, Any], ...]
    evidence: Mapping[str, Any]


def verify_bundle(data: bytes, key: bytes | None, holds: SignatureCheck) -> Verified:
    """Return what holds of a bundle; every check is made, whatever the others say.

    Args:
        key: public key in PEM that the reader trusts; None to use the one in the bundle, which
            leaves unproven whose it is.
        holds: verifies signatures.
    """
    try:
        files = unpack(data)
    except IntegrityError as error:
        return _unreadable(error)
    try:
        evidence: Mapping[str, Any] = read_evidence(files)
    except IntegrityError as error:
        evidence, readable = {}, _failed("evidence", error)
    else:
        readable = _proven("evidence", f"format {evidence['format']}")
    reader = _Reader(files, key or files.get(PUBLIC_KEY, b""), holds)
    checks = [
        _container(data, files),
        _key(files, key),
        _told("signature", reader.signature),
        _files(files),
        readable,
        _told("statements", reader.statements),
        _told("checkpoint", reader.checkpoint),
        _told("entries", reader.entries),
        _told("proofs", reader.inclusion),
        _told("agreement", reader.agreement),
    ]
    verdict = combine(check.verdict for check in checks)
    return Verified(verdict, tuple(checks), tuple(reader.predicates), evidence)


def _unreadable(error: IntegrityError) -> Verified:
    return Verified(Verdict.FAILED, (_failed("container", error),), (), {})


def _proven(name: str, detail: str) -> Check:
    return Check(name, "", Verdict.PROVEN, detail)


def _failed(name: str, why: IntegrityError | str) -> Check:
    detail = why if isinstance(why, str) else f"{why.thing}: {why.cause}"
    return Check(name, "", Verdict.FAILED, detail)


def _unproven(name: str, why: str) -> Check:
    return Check(name, "", Verdict.UNPROVEN, why)


class _NothingToProveError(Exception):
    """There is nothing that a check could look at."""


def _told(name: str, check: Callable[[], str]) -> Check:
    """Return the outcome of a check that returns what it saw, or raises."""
    try:
        return _proven(name, check())
    except IntegrityError as error:
        return _failed(name, error)
    except _NothingToProveError as nothing:
        return _unproven(name, str(nothing))


def _container(data: bytes, files: Mapping[str, bytes]) -> Check:
    if not is_canonical(data, files):
        return _failed("container", "the zip is not what its files make: bytes between them differ")
    return _proven("container", f"{len(files)} files, nothing between them")


def _key(files: Mapping[str, bytes], key: bytes | None) -> Check:
    try:
        inside = proofs.key_id(files.get(PUBLIC_KEY, b""))
        given = proofs.key_id(key) if key is not None else None
    except IntegrityError as error:
        return _failed("key", error)
    if given is None:
        return _unproven(
            "key", f"signed by {inside}; whose key that is only you can tell: give --key"
        )
    if given != inside:
        return _failed("key", f"it was signed by {inside}, another installation than {given}")
    return _proven("key", f"signed by the key that was given, {given}")


def _files(files: Mapping[str, bytes]) -> Check:
    """Return whether every file is as listed, and none is missing or unlisted."""
    try:
        text = files[SUMS].decode("ascii")
        pairs = [line.split("  ", 1) for line in text.splitlines()]
        listed = {name: digest for digest, name in pairs}
    except (KeyError, ValueError) as error:
        return _failed("files", f"{SUMS} cannot be read: {error}")
    there = {name for name in files if name not in UNLISTED}
    wrong = [f"{name} is missing" for name in sorted(listed.keys() - there)]
    wrong += [f"{name} is not listed" for name in sorted(there - listed.keys())]
    now = {name: digest for digest, name in _pairs(sums(files))}
    wrong += [
        f"{name} was changed" for name in sorted(there & listed.keys()) if now[name] != listed[name]
    ]
    if wrong:
        return _failed("files", _several(wrong))
    return _proven("files", f"{len(listed)} files, every SHA-256 is as listed")


def _pairs(text: bytes) -> Iterator[tuple[str, str]]:
    for line in text.decode("ascii").splitlines():
        digest, _, name = line.partition("  ")
        yield digest, name


def _several(reasons: Sequence[str]) -> str:
    more = len(reasons) - _MOST_NAMED
    return "; ".join(reasons[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


class _Reader:
    """The signed things of a bundle, looked at one after the other."""

    def __init__(self, files: Mapping[str, bytes], key: bytes, holds: SignatureCheck) -> None:
        self._files, self._key, self._holds = files, key, holds
        self.predicates: list[Mapping[str, Any]] = []
        self._lines: list[bytes] = files.get(ENTRIES, b"").splitlines()
        self._tree: Checkpoint | None = None

    def signature(self) -> str:
        signature = self._files.get(SIGNATURE, b"")
        if not self._holds(self._key, self._files.get(SUMS, b""), signature):
            raise IntegrityError(SIGNATURE, f"it is not the key's signature over {SUMS}")
        return f"the key signed {SUMS}, and with it every file"

    def statements(self) -> str:
        for name, lines in statement_files(self._files).items():
            for number, line in enumerate(lines, 1):
                self._statement(f"{name}, line {number}", line)
        if not self.predicates:
            raise IntegrityError("statements", "there are none")
        return f"{len(self.predicates)} statements, each with the key's signature"

    def _statement(self, place: str, line: bytes) -> None:
        try:
            envelope = dsse.read_envelope(line)
            if not any(self._holds(self._key, envelope.signed, s) for _, s in envelope.signatures):
                raise IntegrityError("statement", "it does not have the key's signature")
            self.predicates.append(dsse.read_statement(envelope.payload))
        except IntegrityError as error:
            raise IntegrityError(place, error.cause) from error

    def checkpoint(self) -> str:
        if CHECKPOINT not in self._files:
            raise _NothingToProveError("the bundle holds no checkpoint of a ledger")
        tree = proofs.parse_checkpoint(self._files[CHECKPOINT])
        signature = proofs.signed_by(tree, self._key)
        if signature is None or not self._holds(self._key, tree.body, signature):
            raise IntegrityError(CHECKPOINT, "it does not have the key's signature")
        self._tree = tree
        return f"{tree.origin} with {tree.size} entries, signed by the key"

    def entries(self) -> str:
        tree = self._demand_tree()
        first, last = self._span()
        found = proofs.root_of_range(
            self._proof(first), self._proof(last), tree.size, [_leaf(line) for line in self._lines]
        )
        if found != tree.root:
            raise IntegrityError(ENTRIES, "they do not lead to the root of the checkpoint")
        return f"entries {first} to {last}, all of them: none was taken out, none put in"

    def inclusion(self) -> str:
        tree = self._demand_tree()
        first, last = self._span()
        names = [name for name in self._files if name.startswith(PROOF.partition("{")[0])]
        for name in names:
            proof = proofs.parse_proof(self._files[name])
            if name != PROOF.format(index=proof.index) or not first <= proof.index <= last:
                raise IntegrityError(name, f"it is a proof of entry {proof.index}")
            leaf = _leaf(self._lines[proof.index - first])
            same = proof.checkpoint == self._files[CHECKPOINT]
            if not same or proofs.root_of_leaf(proof, tree.size, leaf) != tree.root:
                raise IntegrityError(name, "it does not lead to the root of the checkpoint")
        return f"{len(names)} tlog-proofs lead to the checkpoint"

    def agreement(self) -> str:
        """Return what the statements have in common with the ledger's entries."""
        if not self.predicates:
            raise IntegrityError("statements", "none can be held against the ledger")
        first = self._span()[0] if self._lines else 0
        compared = 0
        for one in self.predicates:
            for index in one["ledger_entries"]:
                if not 0 <= index - first < len(self._lines):
                    raise IntegrityError(
                        f"{one['kind']} {one['run']}", f"it names entry {index}, which is not there"
                    )
            if one["ledger_entries"]:
                self._agrees(one, self._lines[one["ledger_entries"][-1] - first])
                compared += 1
        if not compared:
            raise _NothingToProveError("no statement rests on an entry of the ledger")
        return f"{compared} statements say no more than their entries in the ledger"

    def _agrees(self, one: Mapping[str, Any], line: bytes) -> None:
        entry = _entry(line)
        if one["verdict"] != Verdict.PROVEN or entry is None:
            return
        thing = f"{one['kind']} {one['run']}"
        if event_of(entry["kind"]) in BEGUN:
            raise IntegrityError(thing, "it says proven, where the ledger knows no end")
        said = entry.get("facts", {}).get("verdict", Verdict.PROVEN)
        if said != Verdict.PROVEN:
            raise IntegrityError(thing, f"it says proven, where the ledger says {said}")

    def _demand_tree(self) -> Checkpoint:
        if self._tree is None:
            if CHECKPOINT in self._files:
                raise IntegrityError(
                    CHECKPOINT, "it does not hold, so nothing is proven against it"
                )
            raise _NothingToProveError("there is no checkpoint to prove it against")
        if not self._lines:
            raise _NothingToProveError("the ledger has no entry in the period")
        return self._tree

    def _span(self) -> tuple[int, int]:
        try:
            told = json.loads(self._files["evidence.json"])["ledger"]
            first, last = int(told["first"]), int(told["last"])
        except (KeyError, ValueError, TypeError) as error:
            raise IntegrityError(ENTRIES, "nothing tells which indices they have") from error
        if last - first + 1 != len(self._lines):
            raise IntegrityError(
                ENTRIES, f"{len(self._lines)} lines for the indices {first} to {last}"
            )
        return first, last

    def _proof(self, index: int) -> TlogProof:
        name = PROOF.format(index=index)
        if name not in self._files:
            raise IntegrityError(name, "it is missing")
        proof = proofs.parse_proof(self._files[name])
        if proof.index != index:
            raise IntegrityError(name, f"it is a proof of entry {proof.index}")
        return proof


def _entry(line: bytes) -> Mapping[str, Any] | None:
    """Return an entry; None for one that is withheld."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("kind"), str) else None


def _leaf(line: bytes) -> bytes:
    """Return the hash of an entry's line; a withheld one is its hash."""
    if line.startswith(b'{"withheld":"'):
        try:
            return bytes.fromhex(json.loads(line)["withheld"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(ENTRIES, "a withheld entry has no hash") from error
    return proofs.leaf_hash(line)
