"""The books of the targets on disk, so that a restart does not tell everything again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from llmvault.core.errors import UnavailableError
from llmvault.core.files import write_durably
from llmvault.core.units import format_time, parse_time
from llmvault.schedule.model import Finding
from llmvault.schedule.telling import Book, Told, Trouble

_log = logging.getLogger(__name__)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class BookStore:
    """A file with the book of each target, for its owner only."""

    file: Path

    def read(self) -> dict[str, Book]:
        """Return the books; none when there is no file or it cannot be read.

        Nobody is told less for that, only again.
        """
        try:
            document = json.loads(self.file.read_bytes())
            if document["format"] != _FORMAT:
                raise ValueError("its format is another one")
            return {name: _book(one) for name, one in document["targets"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s cannot be read (%s); everything is told again", self.file, error)
            return {}

    def write(self, books: Mapping[str, Book]) -> None:
        """Keep the books.

        Raises:
            UnavailableError: when they cannot be written.
        """
        document = {
            "format": _FORMAT,
            "targets": {name: _json(book) for name, book in books.items()},
        }
        try:
            write_durably(self.file, json.dumps(document).encode())
        except OSError as error:
            raise UnavailableError(
                str(self.file), f"cannot be written: {error.strerror}", "make room on this disk"
            ) from error


def _json(book: Book) -> dict[str, Any]:
    return {
        "told": [
            {
                "finding": _finding_json(told.finding),
                "first": format_time(told.first),
                "last": format_time(told.last),
                "gone": told.gone and format_time(told.gone),
            }
            for told in book.told.values()
        ],
        "events": [_finding_json(event) for event in book.events],
        "trouble": book.trouble
        and {
            "since": format_time(book.trouble.since),
            "again": format_time(book.trouble.again),
            "times": book.trouble.times,
            "cause": book.trouble.cause,
        },
    }


def _book(raw: Mapping[str, Any]) -> Book:
    told = [
        Told(
            Finding(**one["finding"]),
            parse_time(one["first"]),
            parse_time(one["last"]),
            _time(one["gone"]),
        )
        for one in raw["told"]
    ]
    trouble = raw["trouble"]
    return Book(
        {one.finding.key: one for one in told},
        tuple(Finding(**one) for one in raw["events"]),
        trouble
        and Trouble(
            parse_time(trouble["since"]),
            parse_time(trouble["again"]),
            int(trouble["times"]),
            str(trouble["cause"]),
        ),
    )


def _finding_json(finding: Finding) -> dict[str, str]:
    return {name: getattr(finding, name) for name in Finding.__slots__}


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
