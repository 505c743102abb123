"""The files of a bundle, made from what is stated: ``docs/formats/evidence.md``. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.core.units import format_time
from llmvault.evidence import dsse, oscal
from llmvault.evidence.kinds import BY_NAME
from llmvault.evidence.model import Finding, Framework, LedgerEntry, LedgerPart, Statement
from llmvault.evidence.observed import Observed
from llmvault.evidence.proofs import key_id, leaf_hash
from llmvault.evidence.tables import tables
from llmvault.evidence.withhold import is_clean

FORMAT = "llmvault/evidence/1"
EVIDENCE = "evidence.json"
REPORT = "report.html"
PUBLIC_KEY = "public-key.pem"
CHECKPOINT = "ledger/checkpoint"
ENTRIES = "ledger/entries.jsonl"
PROOF = "ledger/proofs/{index}.tlog-proof"
POLICY = "policies/policy.json"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
UNLISTED = (SUMS, SIGNATURE)
_STATEMENTS = "statements/"
_BUNDLE_SUFFIX = ".intoto.jsonl"

Sign = Callable[[bytes], bytes]
Render = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], str]


@dataclass(frozen=True, slots=True)
class Content:
    """What a bundle is made from."""

    seen: Observed
    frameworks: tuple[Framework, ...]
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]
    proofs: Mapping[int, bytes]
    public_pem: bytes


def proven_entries(part: LedgerPart, statements: Iterable[Statement]) -> tuple[int, ...]:
    """Return the indices that get a proof: the ends of the part, and the end of every run."""
    ends = {part.entries[0].index, part.entries[-1].index} if part.entries else set()
    ends |= {one.entries[-1] for one in statements if one.entries}
    return tuple(sorted(ends))


def bundle_files(content: Content, sign: Sign, render: Render) -> dict[str, bytes]:
    """Return file name -> bytes of a whole bundle, signed.

    Args:
        sign: signs with the key whose public half is in `content`.
        render: makes the page from ``evidence.json`` and the statements.
    """
    files = _signed_statements(content, sign) | _ledger_files(content)
    files[PUBLIC_KEY] = content.public_pem
    files[POLICY] = _pretty(dict(content.seen.policy.values))
    for framework in content.frameworks:
        files[f"controls/{framework.name}.json"] = _pretty(asdict(framework))
    evidence = evidence_document(content)
    predicates = [one.as_json() for one in content.statements]
    files[EVIDENCE] = _pretty(evidence)
    files |= tables(predicates, evidence["findings"])
    files[REPORT] = render(evidence, predicates).encode("utf-8")
    digests = {name: _sha256(data) for name, data in files.items()}
    found = oscal.documents(
        content.seen, content.frameworks, content.statements, content.findings, digests
    )
    files |= {name: _pretty(document) for name, document in found.items()}
    files[SUMS] = sums(files)
    files[SIGNATURE] = sign(files[SUMS])
    return files


def sums(files: Mapping[str, bytes]) -> bytes:
    """Return the lines that ``sha256sum --check`` reads, one for every file but itself."""
    listed = sorted(name for name in files if name not in UNLISTED)
    return "".join(f"{_sha256(files[name])}  {name}\n" for name in listed).encode()


def _signed_statements(content: Content, sign: Sign) -> dict[str, bytes]:
    key = key_id(content.public_pem)
    files = {}
    for kind, found in groupby(content.statements, lambda one: one.kind):
        bodies = [dsse.payload(one) for one in found]
        files[f"{_STATEMENTS}{kind}{_BUNDLE_SUFFIX}"] = b"".join(
            dsse.envelope_line(body, key, sign(dsse.pre_authentication(body))) for body in bodies
        )
    return files


def _ledger_files(content: Content) -> dict[str, bytes]:
    part = content.seen.ledger
    files = {CHECKPOINT: part.checkpoint} if part.checkpoint else {}
    if part.entries:
        files[ENTRIES] = b"".join(_entry_line(entry) for entry in part.entries)
    for index, proof in content.proofs.items():
        files[PROOF.format(index=index)] = proof
    return files


def _entry_line(entry: LedgerEntry) -> bytes:
    """Return an entry's bytes as a line; its hash alone where it holds what must not leave."""
    if is_withheld(entry):
        return canonical_bytes({"withheld": leaf_hash(entry.raw).hex()}) + b"\n"
    return entry.raw + b"\n"


def is_withheld(entry: LedgerEntry) -> bool:
    """Whether an entry holds personal data or a secret, or is no line of text."""
    try:
        text = entry.raw.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return "\n" in text or not is_clean(text)


def evidence_document(content: Content) -> dict[str, Any]:
    """Return ``evidence.json``: what the bundle is, and what it found."""
    seen = content.seen
    entries = seen.ledger.entries
    return {
        "format": FORMAT,
        "generated": format_time(seen.generated),
        "llmvault": seen.version,
        "host": seen.host,
        "key": key_id(content.public_pem),
        "period": {"from": format_time(seen.period.begin), "to": format_time(seen.period.end)},
        "ledger": {
            "entries": len(entries),
            "first": entries[0].index if entries else None,
            "last": entries[-1].index if entries else None,
            "withheld": sum(1 for entry in entries if is_withheld(entry)),
        },
        "policy": {
            "digest": seen.policy.digest,
            "files": dict(seen.policy.files),
            "plans": [
                {
                    "name": plan.name,
                    "sources": list(plan.sources),
                    "repositories": list(plan.repositories),
                    "rto_s": plan.rto_seconds,
                    "rpo_s": plan.rpo_seconds,
                }
                for plan in seen.policy.plans
            ],
            "valid_for_s": dict(seen.policy.valid_for),
        },
        "statements": {kind: _counts(content.statements, kind) for kind in BY_NAME},
        "frameworks": [
            {"name": one.name, "title": one.title, "source": one.source}
            for one in content.frameworks
        ],
        "findings": [_finding(one) for one in content.findings],
    }


def _counts(statements: Sequence[Statement], kind: str) -> dict[str, int]:
    found = [one.verdict.value for one in statements if one.kind == kind]
    return {verdict: found.count(verdict) for verdict in ("proven", "failed", "unproven")}


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "framework": one.control.framework,
        "control": one.control.id,
        "demand": one.control.demand,
        "wording": one.control.wording,
        "source": one.control.source,
        "answers": list(one.control.answers),
        "state": "satisfied" if one.satisfied else "not-satisfied",
        "reasons": list(one.reasons),
        "statements": [{"kind": kind, "run": run} for kind, run in one.statements],
    }


def read_evidence(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return ``evidence.json`` of a bundle's files.

    Raises:
        IntegrityError: when it is missing, or of another format.
    """
    try:
        document: dict[str, Any] = json.loads(files[EVIDENCE])
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
    except (KeyError, ValueError, TypeError) as error:
        raise IntegrityError("bundle", f"{EVIDENCE} cannot be read: {error}") from error
    return document


def statement_files(files: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    """Return file name -> lines of every file of statements, in the order of the kinds."""
    names = [f"{_STATEMENTS}{kind}{_BUNDLE_SUFFIX}" for kind in BY_NAME]
    return {name: files[name].splitlines() for name in names if name in files}


def read_statements(files: Mapping[str, bytes]) -> tuple[Mapping[str, Any], ...]:
    """Return the predicates of all statements in a bundle's files, signatures not looked at.

    Raises:
        IntegrityError: when one cannot be read.
    """
    return tuple(
        dsse.read_statement(dsse.read_envelope(line).payload)
        for lines in statement_files(files).values()
        for line in lines
    )


def _pretty(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
