"""Every kind of source that a policy may declare has a driver."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import get_args

import pytest

from llmvault.core.errors import PolicyError
from llmvault.core.process import Command, LocalRunner
from llmvault.policy import sources as model
from llmvault.sources.hf_cache import HuggingFaceCache
from llmvault.sources.registry import DRIVERS, build_source, capabilities
from tests.contract.source import local_ports
from tests.fakes import source_configs


def test_every_kind_is_listed() -> None:
    declared = get_args(get_args(model.Source)[0])
    kinds = {get_args(source.model_fields["kind"].annotation)[0] for source in declared}
    assert set(DRIVERS) == kinds


def test_a_driver_is_built(tmp_path: Path) -> None:
    source = build_source("cache", source_configs.hf_cache(tmp_path), local_ports())
    assert isinstance(source, HuggingFaceCache)
    assert source.name == "cache"


@pytest.mark.parametrize("kind", ["hf_cache", "model_dir", "configs"])
def test_the_listed_class_has_that_kind(kind: str) -> None:
    module, name = DRIVERS[kind]
    __import__(module)
    assert getattr(sys.modules[module], name).kind == kind


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    config = source_configs.model_dir(tmp_path).model_copy(update={"kind": "tape"})
    with pytest.raises(PolicyError, match="tape"):
        build_source("old", config, local_ports())


NONE = "\u2013"  # a dash
README = Path(__file__).parents[3] / "README.md"
STORES = [
    line.split("|")[1:-1]
    for line in README.read_text()
    .split("| store | captured how |")[1]
    .split("\n\n")[0]
    .splitlines()
    if "(`" in line
]


@pytest.mark.parametrize("row", STORES, ids=[row[0].strip() for row in STORES])
def test_the_table_of_stores_tells_what_drivers_can_do(row: list[str]) -> None:
    *_, erases, probes = (cell.strip() for cell in row)
    for kind in re.findall(r"\(`(\w+)`\)", row[0]):
        can = capabilities(kind)
        assert (erases != NONE) == ("erases" in can)
        assert (probes != NONE) == ("probes residue" in can)
        assert ("records" in row[1]) == ("exports records" in can)


def test_only_stores_have_capabilities() -> None:
    assert capabilities("configs") == ()
    assert "erases" in capabilities("sqlite")
    assert "erases" not in capabilities("redis")


def test_importing_the_file_drivers_is_light() -> None:
    program = (
        "import sys, llmvault.sources.registry, llmvault.sources.hf_cache\n"
        "import llmvault.sources.model_dir, llmvault.sources.configs\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = LocalRunner(os.environ).run(Command((sys.executable, "-c", program)))
    assert done.exit_code == 0, done.stderr
    for heavy in ("pydantic", "safetensors", "gguf", "numpy", "huggingface_hub", "chromadb"):
        assert f"'{heavy}'" not in done.stdout
