"""The name of the processor that computed an answer, with the instructions it was computed with.

Sums are taken in another order with wider registers, so logits differ between AVX2 and AVX-512;
that is why the instruction set belongs to an engine's identity.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Widest first. Names of llama.cpp's system information are in capitals, the kernel's are not.
_LEVELS = {
    "amx_int8": "amx",
    "avx512_bf16": "avx512_bf16",
    "avx512f": "avx512",
    "avx512": "avx512",
    "avx2": "avx2",
    "avx": "avx",
    "sse4_2": "sse4.2",
    "sve2": "sve2",
    "sve": "sve",
    "asimd": "neon",
    "neon": "neon",
}


def instruction_set(features: str) -> str:
    """Return the widest instruction set among feature words; empty when none is known.

    Takes the ``flags`` of ``/proc/cpuinfo`` as well as llama.cpp's ``AVX2 = 1 | AVX512 = 0``.
    """
    words = re.findall(r"(\w+)(?:\s*=\s*(\d+))?", features.lower())
    present = {word for word, value in words if value != "0"}
    return next((level for word, level in _LEVELS.items() if word in present), "")


def processor_name(cpuinfo: str, machine: str) -> str:
    """Return the model name in the text of ``/proc/cpuinfo``, else the machine's architecture."""
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else machine


def describe_cpu(used: str = "") -> str:
    """Return e.g. ``cpu AMD EPYC avx2``.

    Args:
        used: the instruction set that the engine says it uses; else the widest the processor has.
    """
    cpuinfo = _CPUINFO.read_text(errors="replace") if _CPUINFO.exists() else ""
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    level = used or (instruction_set(flags[1]) if flags else "")
    return " ".join(part for part in ("cpu", _name(cpuinfo), level) if part)


def _name(cpuinfo: str) -> str:
    return processor_name(cpuinfo, platform.machine())
