"""An empty restic repository that opens in milliseconds, for tests that run restic often.

It was made by ``restic init``; then its key file was written anew with the cheapest scrypt
parameters that there are (restic's design document, "Keys, Encryption and MAC"). An ordinary one
takes a third of a second of computing for each call of restic.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

PASSWORD = "correct horse battery staple"
IDENTITY = "dd6e9782f9db6f49da19a03d8257c42149d5600ffa03f3bef9d42612b98e3cbc"

_CONFIG = (
    "EcK1RqGJIG2BFToy8XHIb0Jxo9UhO3VazXnL3d2psZte+4zAtTAeY8zqpI765ptgZD9TxP7kIb+FH04FWiDD"
    "wbT7ZgcTCXnv3lz3BVFGB+lzkYqsfktVEkEK9jNO5uB3wDr1WzakE3PYBtD+sxD8yBnQ+d6kXLIeeFGIjesH"
    "eEj5qNvNLzRxrFv3VvSw1+Wuwl167apST6EaWS4="
)
_KEY = (
    '{"created": "2024-01-01T00:00:00Z", "username": "tests", "hostname": "tests", "kdf":'
    ' "scrypt", "N": 2, "r": 1, "p": 1, "salt": "GPZ9SKqBiKDI0az551yN7aKbYZg1iJSNs0yK8x02'
    'F2T3J+XdIur/RkZt0IvFdWFMbB/wp55SDQSUjD96xfi7+g==", "data": "IYue7+JS9Ydzde832e0KiHil'
    "vPu41uBj/ywreGO7ofXPy3TxQkMABKdsgN7cpwP3quZh8MTag/2DpplkhsnxvCa5BDGSsZWn7bkxNlFO9XeD"
    "NVWsD3QCv0KjEx4pUwwDtBFwQdBxwmXEm2c+6GKKUMCw2LLYWy3HaJi5xsMRpWGRcosE5m7HTRjVN2H0qHWI"
    '7kQZR8HriejyARt034ovwA=="}'
)


def write_quick_repository(place: Path) -> Path:
    """Write the repository into a new directory and return it; its password is PASSWORD."""
    for folder in ("data", "index", "keys", "locks", "snapshots"):
        (place / folder).mkdir(parents=True, mode=0o700)
    (place / "config").write_bytes(base64.b64decode(_CONFIG))
    name = hashlib.sha256(_KEY.encode()).hexdigest()
    (place / "keys" / name).write_text(_KEY, encoding="ascii")
    return place
