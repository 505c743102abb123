"""``llmvault doctor``: can this installation do its work?"""

from __future__ import annotations

from llmvault.app import build_app
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.core.verdict import combine
from llmvault.doctor.run import run_doctor

app = new_app("Look at everything that backups and drills need, and name the next step.")


@app.command()
def doctor(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> int:
    """Look at restic, repositories, sources, clock, scratch space and engines.

    Exit code 0 when all is proven, 1 when something is bad, 3 when something could not be told.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    found = list(run_doctor(vault.doctor_ports()))
    verdict = combine(one.verdict for one in found)
    output.emit_json(
        {
            "verdict": verdict.value,
            "diagnoses": [
                {
                    "subject": one.subject,
                    "verdict": one.verdict.value,
                    "detail": one.detail,
                    "next_step": one.next_step,
                }
                for one in found
            ],
        }
    )
    output.show_table(
        "Doctor",
        ("subject", "verdict", "detail", "next step"),
        [(one.subject, one.verdict, one.detail, one.next_step) for one in found],
    )
    return verdict.exit_code
