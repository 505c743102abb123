"""``llmvault policy``: validate, show, schema, plan, apply."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmvault.app import build_app
from llmvault.app.buckets import apply_stores, plan_stores
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.cli.views.buckets import show_applied, show_bucket_plans
from llmvault.cli.views.recovery import keeping_copy
from llmvault.policy.describe import Setting, describe
from llmvault.policy.lint import Advice, Severity, lint
from llmvault.policy.load import load_policy
from llmvault.policy.loaded import LoadedPolicy
from llmvault.policy.observe import observe
from llmvault.policy.shape import sections
from llmvault.settings import load_settings

app = new_app("Check the policy files; show what holds, and why.")


@app.command()
def validate(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> int:
    """Report every error and danger, with file and line.

    Exit code 2 when a file is wrong, 1 when a setting is dangerous, 0 otherwise.
    """
    settings = load_settings(policies=policies, state=state)
    loaded = load_policy(settings.policies, settings.environment)
    surroundings = observe(loaded.policy, state=settings.state, scratch=settings.scratch)
    advice = lint(loaded, surroundings)
    output = Output(json=json)
    output.emit_json(_verdict_document(loaded, advice))
    output.show(*map(str, advice), _summary(loaded, advice))
    return 1 if any(one.severity is Severity.DANGER for one in advice) else 0


@app.command()
def show(
    selector: Annotated[
        str, typer.Argument(metavar="[SECTION[.NAME]]", help="Only these, e.g. sources.minilm.")
    ] = "",
    json: JsonOption = False,
    policies: PoliciesOption = None,
    state: StateOption = None,
) -> None:
    """Show every value that holds, and where it comes from."""
    settings = load_settings(policies=policies, state=state)
    loaded = load_policy(settings.policies, settings.environment)
    shown = describe(loaded, selector)
    output = Output(json=json)
    output.emit_json(_settings_document(loaded, shown))
    for section in dict.fromkeys(one.section for one in shown if one.section):
        rows = [_row(loaded, one) for one in shown if one.section == section]
        output.show_table(section, ("name", "setting", "value", "from"), rows)


@app.command()
def schema(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> None:
    """Print the JSON Schema of a policy file, for editors; it is the same for every policy."""
    from llmvault.policy.schema import schema_text

    Output(json=json).write(schema_text())


@app.command()
def plan(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> int:
    """Show how object stores differ from what the policy declares.

    Exit code 0 when nothing differs, 1 when something does, 5 when a store cannot be reached.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    return show_bucket_plans(output, plan_stores(vault))


@app.command()
def apply(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> int:
    """Make object stores what the policy declares; read every setting back.

    Exit code 0 when all is as declared, 1 when a server did not keep a setting, 4 when it refuses.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    with keeping_copy(vault, output):
        applied = apply_stores(vault, plan_stores(vault))
    return show_applied(output, applied)


def _verdict_document(loaded: LoadedPolicy, advice: tuple[Advice, ...]) -> dict[str, Any]:
    return {
        "directory": str(loaded.directory),
        "digest": loaded.digest,
        "files": [str(file) for file in loaded.files],
        "items": _counts(loaded),
        "advice": [one.as_json() for one in advice],
    }


def _counts(loaded: LoadedPolicy) -> dict[str, int]:
    """Return how many items each section of named items has."""
    named = sections()
    return {
        name: len(value)
        for name, value in loaded.values.items()
        if name in named and isinstance(value, dict)
    }


def _summary(loaded: LoadedPolicy, advice: tuple[Advice, ...]) -> str:
    counted = ", ".join(f"{count} {name}" for name, count in _counts(loaded).items())
    noted = f"; {len(advice)} remarks" if advice else ""
    return f"{loaded.directory} is valid: {counted}{noted}. Digest {loaded.digest}"


def _row(loaded: LoadedPolicy, one: Setting) -> tuple[str, ...]:
    return (one.item, one.key, one.text(), one.origin.describe(loaded.directory))


def _settings_document(loaded: LoadedPolicy, shown: tuple[Setting, ...]) -> dict[str, Any]:
    return {
        "directory": str(loaded.directory),
        "digest": loaded.digest,
        "settings": [one.as_json() for one in shown],
    }
