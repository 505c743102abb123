"""Signed statements: DSSE envelopes around in-toto statements. Pure.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md and
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. A file of them is an in-toto
bundle: one envelope per line.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.core.verdict import Verdict
from llmvault.evidence.kinds import BY_NAME
from llmvault.evidence.model import Statement

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_RESULTS = {Verdict.PROVEN: "PASSED", Verdict.FAILED: "FAILED", Verdict.UNPROVEN: "WARNED"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and the signatures on it, by key id; nothing is verified yet."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def signed(self) -> bytes:
        """The bytes that are signed."""
        return pre_authentication(self.payload)


def pre_authentication(payload: bytes) -> bytes:
    """Return what is signed for a payload (DSSE's PAE)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def in_toto(statement: Statement) -> dict[str, Any]:
    """Return the in-toto statement of ours."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": f"{statement.kind} {statement.run}",
                "digest": {"sha256": statement.subject_sha256},
            }
        ],
        "predicateType": BY_NAME[statement.kind].predicate_type,
        "predicate": _predicate(statement),
    }


def _predicate(statement: Statement) -> dict[str, Any]:
    plain = statement.as_json()
    if not BY_NAME[statement.kind].tested:
        return plain
    checks = [
        (f"{check['name']} {check['source']}".strip(), check["verdict"])
        for check in statement.facts.get("checks", ())
    ]
    return plain | {
        "result": _RESULTS[statement.verdict],
        "configuration": [
            {"name": "policy", "digest": {"sha256": digest}}
            for digest in filter(None, [statement.facts.get("policy_digest")])
        ],
        "passedTests": [name for name, verdict in checks if verdict == Verdict.PROVEN],
        "warnedTests": [name for name, verdict in checks if verdict == Verdict.UNPROVEN],
        "failedTests": [name for name, verdict in checks if verdict == Verdict.FAILED],
    }


def payload(statement: Statement) -> bytes:
    """Return the canonical bytes of a statement."""
    return canonical_bytes(in_toto(statement))


def envelope_line(body: bytes, key_id: str, signature: bytes) -> bytes:
    """Return an envelope as one line."""
    return (
        canonical_bytes(
            {
                "payload": base64.b64encode(body).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"keyid": key_id, "sig": base64.b64encode(signature).decode()},
                ],
            }
        )
        + b"\n"
    )


def read_envelope(line: bytes) -> Envelope:
    """Return the envelope in a line.

    Raises:
        IntegrityError: when it is none, or not around an in-toto statement.
    """
    try:
        raw = json.loads(line)
        if raw["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(f"its payload is {raw['payloadType']}")
        return Envelope(
            base64.b64decode(raw["payload"], validate=True),
            tuple(
                (str(one["keyid"]), base64.b64decode(one["sig"], validate=True))
                for one in raw["signatures"]
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("statement", f"it is no DSSE envelope: {error}") from error


def read_statement(body: bytes) -> Mapping[str, Any]:
    """Return the predicate of a payload.

    Raises:
        IntegrityError: when it is no statement of ours.
    """
    try:
        raw = json.loads(body)
        predicate: Mapping[str, Any] = raw["predicate"]
        kind = BY_NAME[predicate["kind"]]
        Verdict(predicate["verdict"])
        if (raw["_type"], raw["predicateType"]) != (STATEMENT_TYPE, kind.predicate_type):
            raise ValueError(f"it is a {raw['predicateType']}")
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("statement", f"it is none of ours: {error!r}") from error
    return predicate
