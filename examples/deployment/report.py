"""``python -m examples.deployment.report DIRECTORY``: the newest drill in four lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Print verdict, RTO, RPO and report of the newest drill in a directory of reports."""
    newest = max(Path(arguments[0]).glob("drill-*.json"), key=lambda path: path.name)
    drill = json.loads(newest.read_text(encoding="utf-8"))
    print(f"verdict:         {drill['verdict']}")
    for name in ("rto", "rpo"):
        measured, promised = drill[name]["measured_s"], drill[name]["objective_s"]
        shown = "not measured" if measured is None else f"{measured:.1f} s"
        print(f"measured {name.upper()}:    {shown} (objective {promised / 60:.0f} min)")
    print(f"report:          {drill['report']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
