"""``docs/formats/policy.md`` says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from llmvault.policy.lint import RULES
from llmvault.policy.schema import policy_schema
from llmvault.policy.shape import sections
from tests.fakes.policy_files import load

TEXT = (Path(__file__).parents[2] / "docs/formats/policy.md").read_text(encoding="utf-8")
WHOLE, DEFAULTS, OVERRIDE = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_blocks_together_are_a_policy(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, {"a.yaml": WHOLE, "b.yaml": DEFAULTS, "overrides.d/host.yaml": OVERRIDE}
    )
    assert loaded.policy.plans["nightly"].objectives.rto.total_seconds() == 4 * 3600
    assert loaded.policy.sources["weights"].exclude == ("*.tmp",)


@pytest.mark.parametrize("block", [WHOLE, DEFAULTS, OVERRIDE])
def test_the_blocks_fit_the_schema(block: str) -> None:
    jsonschema.Draft202012Validator(policy_schema()).validate(yaml.safe_load(block))


def test_all_sections_kinds_and_rules_are_listed() -> None:
    rows = {
        row.split("|")[1].strip(" `"): row for row in TEXT.splitlines() if row.startswith("| `")
    }
    for section in sections().values():
        kinds = [kind for kind in section.kinds if kind]
        assert re.findall(r"`(\w+)`", rows[section.name])[1:] == kinds
    for rule, (severity, _) in RULES.items():
        assert f"| {severity.value} |" in rows[rule]
