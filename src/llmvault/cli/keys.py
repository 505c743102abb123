"""``llmvault keys``: the keys of this installation."""

from __future__ import annotations

from llmvault.app import build_app
from llmvault.app.ledger import key_files, open_ledger
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.recovery import keeping_copy
from llmvault.core.errors import VaultError
from llmvault.ledger.rotation import rotate_key

app = new_app("Look after the keys of this installation.")


@app.command()
def status(
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Show the public keys, and whether the one that signs can be used.

    Exit code 0 when it can; else that of its trouble.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    files = key_files(vault.settings)
    known = files.verifiers()
    trouble: VaultError | None = None
    try:
        files.signing_key()
    except VaultError as error:
        trouble = error
    words = trouble.diagnostics() if trouble else ""
    output.emit_json(
        {
            "keys": [{"key": key.text(), "signs": key is known[-1]} for key in known],
            "usable": trouble is None,
            "trouble": words,
        }
    )
    rows = [(key.name, key.id.hex(), "signs" if key is known[-1] else "before") for key in known]
    output.show_table("Ledger keys", ("name", "id", ""), rows)
    output.show(words or f"public key for others: {known[-1].text()}")
    return trouble.exit_code if trouble else 0


@app.command()
def rotate(
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> int:
    """Make a new signing key, record it, and have the old one sign the ledger's head once more."""
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    ledger = open_ledger(vault.settings, vault.clock, vault.ids)
    with keeping_copy(vault, output):
        rotation = rotate_key(ledger, key_files(vault.settings))
    output.emit_json(
        {
            "key": rotation.new.text(),
            "before": rotation.old.text(),
            "signed_over": rotation.signed_over,
            "entry": rotation.index,
        }
    )
    how = "the old key signed the head too" if rotation.signed_over else "the old key was lost"
    output.show(f"now signs: {rotation.new.text()}", f"entry {rotation.index}: {how}")
    return 0
