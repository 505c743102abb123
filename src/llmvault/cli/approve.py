"""``llmvault approve``: say yes to a plan, by signing its digest with an SSH key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmvault.access.model import NAMESPACE, Approval, Standing
from llmvault.access.run import AccessPorts
from llmvault.app import build_app
from llmvault.app.retention import access_ports
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.recovery import keeping_copy
from llmvault.core.errors import PolicyError

app = new_app("Approve a plan by signing its digest with an SSH key.")


@app.command()
def approve(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="Of what is to be approved.")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Sign with this key; its .pub file says whose it is."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what --as PERSON would sign, to sign it by hand."),
    ] = None,
    by: Annotated[str, typer.Option("--as", metavar="PERSON", help="For --write.")] = "",
    statement: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What was signed by hand.")
    ] = None,
    signature: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The signature made by hand.")
    ] = None,
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Approve what somebody else asked for; without a key or a signature, show how far it has come.

    By hand, e.g. where the key needs a PIN: --write FILE --as PERSON, then
    ssh-keygen -Y sign -n llmvault-approve@v1 -f KEY FILE,
    then --statement FILE --signature FILE.sig
    Exit code 4 when the approval does not count, 3 while others must still approve.
    """
    from llmvault.access.plan import statement_bytes
    from llmvault.access.run import approve_with_key, standing, statement_for

    vault, output = build_app(policies=policies, state=state), Output(json=json)
    ports = access_ports(vault)
    if write is not None:
        _write(write, statement_bytes(statement_for(ports, digest, by)))
        output.emit_json({"statement": str(write), "namespace": NAMESPACE})
        output.show(f"ssh-keygen -Y sign -n {NAMESPACE} -f KEY {write}")
        return 0
    if key is not None:
        with keeping_copy(vault, output):
            found = approve_with_key(ports, digest, key)
    elif statement is not None and signature is not None:
        with keeping_copy(vault, output):
            found = _by_hand(ports, digest, statement, signature)
    elif statement is None and signature is None:
        found = standing(ports, digest)
    else:
        raise PolicyError("approve", "half a signature is none", "give --statement and --signature")
    output.emit_json(_document(found))
    _show(output, found)
    return 3 if found.missing else 0


def _by_hand(ports: AccessPorts, digest: str, statement: Path, signature: Path) -> Standing:
    from llmvault.access.plan import read_statement
    from llmvault.access.run import admit

    approval = Approval(_read(statement), _read(signature))
    if read_statement(approval.statement).approves != digest:
        raise PolicyError(f"file {statement}", "it approves something else", "write it anew")
    return admit(ports, approval)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"file {path}", f"cannot be read: {error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise PolicyError(f"file {path}", f"cannot be written: {error.strerror}") from error


def _document(found: Standing) -> dict[str, Any]:
    return {
        "digest": found.request.digest,
        "what": found.request.what,
        "rule": found.rule.name,
        "approvers": found.rule.approvers,
        "missing": found.missing,
        "asked": [dict(one) for one in found.request.asked],
        "approvals": [dict(one.facts) for one in found.counted],
        "not_counted": [{"fault": one.fault, **one.facts} for one in found.others],
    }


def _show(output: Output, found: Standing) -> None:
    output.show(f"{found.request.what} ({found.request.digest})")
    output.show_table(
        "Approvals",
        ("by", "made", "expires", "key", "hardware", "counts"),
        [
            (
                one.by,
                one.facts.get("made", ""),
                one.facts.get("expires", ""),
                one.facts.get("key", ""),
                "yes" if one.facts.get("hardware") else "no",
                one.fault or "yes",
            )
            for one in (*found.counted, *found.others)
        ],
    )
    left = found.missing
    output.show(f"{left} more must approve" if left else "approved")
