"""Operations are entered before and after, whatever their end."""

from __future__ import annotations

import pytest

from llmvault.ledger.recorded import recorded
from tests.fakes.ledger import MemoryLedger


def test_acts_are_entered_before_and_after_whatever_their_end() -> None:
    ledger = MemoryLedger()
    with recorded(ledger, "drill", {"drill": "d"}) as end:
        end["verdict"] = "proven"
    with pytest.raises(ValueError, match="anna"), recorded(ledger, "drill", {"drill": "e"}):
        raise ValueError("anna@example.org")
    assert ledger.entries == [
        ("drill.started", {"drill": "d"}),
        ("drill.finished", {"drill": "d", "verdict": "proven"}),
        ("drill.started", {"drill": "e"}),
        ("drill.failed", {"drill": "e", "error": "ValueError"}),
    ]
