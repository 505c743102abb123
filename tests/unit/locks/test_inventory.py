"""What is remembered of locks survives kills and foreign bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from llmvault.locks.inventory import Inventory
from llmvault.locks.model import Lock
from llmvault.objectstore.model import LockMode

LOCK = Lock("v1", LockMode.COMPLIANCE, datetime(2026, 1, 2, tzinfo=UTC))


def test_the_last_that_was_seen_holds(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path, "ab" * 32)
    assert inventory.locks() == {}
    later = Lock("v2", LockMode.GOVERNANCE, datetime(2027, 1, 2, tzinfo=UTC))
    none = Lock("v3", None, None)
    inventory.add({"a": LOCK, "b": none})
    inventory.add({"a": later})
    assert inventory.locks() == {"a": later, "b": none}
    inventory.replace({"b": none})
    assert inventory.locks() == {"b": none}
    assert Inventory(tmp_path, "cd" * 32).locks() == {}


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path, "ab" * 32)
    inventory.add({"a": LOCK})
    (file,) = tmp_path.rglob("locks.jsonl")
    assert file.stat().st_mode & 0o077 == 0
    with file.open("ab") as stream:
        stream.write(b'["b","v1","COMPLI')
    inventory.add({"c": LOCK})
    assert inventory.locks() == {"a": LOCK, "c": LOCK}
    file.write_bytes(b"\xff[]\n[1,2]\n{}\n" + file.read_bytes())
    assert inventory.locks() == {"a": LOCK, "c": LOCK}


def test_an_index_is_read_once(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path, "ab" * 32)
    assert inventory.packs_of("i") is None
    inventory.add_index("i", ["p", "q"])
    assert inventory.packs_of("i") == ("p", "q")
