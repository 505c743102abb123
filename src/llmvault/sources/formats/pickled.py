"""Telling pickled weights, which run code when they are loaded, by their first bytes.

PyTorch writes a zip archive whose first member is ``<name>/data.pkl`` (or another ``.pkl``), and
wrote bare pickles before version 1.6. Protocols 2 and up begin with byte 0x80 and the protocol.
"""

from __future__ import annotations

HEAD_SIZE = 512
_ZIP = b"PK\x03\x04"
_ZIP_FIXED = 30
_HIGHEST_PROTOCOL = 5
# What may follow PROTO: FRAME, MARK, containers, integers, texts and globals, PUT.
_FIRST_OPCODES = frozenset(b"\x95(}]})\x8a\x8b\x8c\x8fKMJIcVXBCUT.GN\x88\x89")


def is_pickled(head: bytes) -> bool:
    """Whether a file with these first bytes (512 or all of it) is a pickle or a zip of pickles."""
    if head.startswith(_ZIP):
        length = int.from_bytes(head[26:28], "little")
        return head[_ZIP_FIXED : _ZIP_FIXED + length].endswith(b".pkl")
    return (
        len(head) > 2
        and head[0] == 0x80
        and 2 <= head[1] <= _HIGHEST_PROTOCOL
        and head[2] in _FIRST_OPCODES
    )
