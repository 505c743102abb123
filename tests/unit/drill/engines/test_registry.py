import os
import sys
from pathlib import Path
from typing import get_args

import pytest

from llmvault.core.clock import SystemClock
from llmvault.core.errors import UnavailableError
from llmvault.core.process import Command, LocalRunner
from llmvault.drill.engines.interface import EnginePorts
from llmvault.drill.engines.registry import ENGINES, build_engine
from llmvault.policy import engines as policy
from llmvault.policy.model import Policy

RUNNER = LocalRunner(os.environ)
PORTS = EnginePorts(RUNNER, SystemClock())
DECLARED: dict[str, dict[str, object]] = {
    "llamacpp": {},
    "transformers": {},
    "openai": {"command": ["serve", "{model}"]},
}


def declared(kind: str) -> policy.Engine:
    value = {"kind": kind, "source": "models", "model": "m", **DECLARED[kind]}
    found = Policy.model_validate({"engines": {"x": value}})
    return found.engines["x"]


def test_every_kind_of_the_policy_has_an_engine() -> None:
    kinds = {get_args(kind.model_fields["kind"].annotation)[0] for kind in _policy_engines()}
    assert kinds == set(ENGINES)


@pytest.mark.parametrize("kind", ENGINES)
def test_engines_are_built_without_being_started(kind: str) -> None:
    engine = build_engine("x", declared(kind), PORTS)
    assert (engine.kind, engine.name) == (kind, "x")


def test_heavy_libraries_are_imported_only_when_an_engine_starts() -> None:
    code = (
        "import sys\n"
        "from llmvault.drill.engines import registry, llamacpp, transformers, openai\n"
        "heavy = {'xllamacpp', 'torch', 'httpx', 'numpy', 'gguf'} & set(sys.modules)\n"
        "hub = sys.modules.get('transformers')\n"
        "print(heavy, hub)\n"
    )
    done = RUNNER.run(Command((sys.executable, "-c", code)))
    assert (done.exit_code, done.stdout.strip()) == (0, "set() None")


def test_what_is_not_installed_is_told_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for kind in ("llamacpp", "transformers"):
        engine = build_engine("x", declared(kind), PORTS)
        monkeypatch.setattr(f"llmvault.drill.engines.{kind}.find_spec", lambda name: None)
        assert f"pip install 'llmvault[{kind}]'" in engine.available()
        with (
            pytest.raises(UnavailableError, match="not installed"),
            engine.start(tmp_path, tmp_path / "log"),
        ):
            pytest.fail("it must not start")


def _policy_engines() -> tuple[type[policy.EngineBase], ...]:
    union, _ = get_args(policy.Engine)
    return get_args(union)
