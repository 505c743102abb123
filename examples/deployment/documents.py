"""The example's documents, and the passages that retrieval finds.

A document is a Markdown file: one `#` title, `##` sections, and paragraphs. A passage is one
paragraph. The documents were written for this example and carry the project's licence.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "documents"


@dataclass(frozen=True, slots=True)
class Passage:
    """One paragraph of a document, with the headings above it."""

    id: str
    text: str
    source: str
    title: str
    section: str


def passages(folder: Path = FOLDER) -> tuple[Passage, ...]:
    """Return every passage of every document, ordered by file name and place in the file."""
    return tuple(passage for path in _files(folder) for passage in _split(path))


def plain_texts(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return each document as plain text: headings and paragraphs, a blank line between them."""
    return tuple(
        "\n\n".join(block.lstrip("# ") for block in _blocks(path)) for path in _files(folder)
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.md"))


def _blocks(path: Path) -> list[str]:
    blocks = re.split(r"\n\s*\n", path.read_text(encoding="utf-8").strip())
    return [" ".join(block.split()) for block in blocks]


def _split(path: Path) -> list[Passage]:
    title = section = ""
    found: list[Passage] = []
    for block in _blocks(path):
        if block.startswith("## "):
            section = block.removeprefix("## ")
        elif block.startswith("# "):
            title = block.removeprefix("# ")
        else:
            name = f"{path.stem}-{len(found) + 1:02}"
            found.append(Passage(name, block, path.name, title, section))
    return found
