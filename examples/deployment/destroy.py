"""Lose everything the example deployment holds, so that it can be got back.

    python -m examples.deployment.destroy DIR          the data; the folder stays an example
    python -m examples.deployment.destroy --all DIR    the marker too, and the folder if empty

Only a folder with the example's own marker file is touched, and in it only what `make` writes.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.deployment import database, facts
from examples.deployment.errors import ExampleError


def destroy(folder: Path, *, marker_too: bool = False) -> list[str]:
    """Stop the database and remove the deployment's data; return the names of what was removed.

    Raises:
        ExampleError: the folder has no marker, so it is not known to be an example.
    """
    marker = folder / facts.MARKER
    if not marker.is_file():
        raise ExampleError(
            f"{folder} has no file {facts.MARKER}, so it is no example deployment; "
            "nothing was removed"
        )
    database.stop(folder)
    present = [name for name in facts.DATA_FOLDERS if _exists(folder / name)]
    for name in present:
        _remove(folder / name)
    if marker_too:
        marker.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    return present


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.deployment.destroy")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--all", action="store_true", help="also the marker and the empty folder")
    options = parser.parse_args(arguments)
    try:
        removed = destroy(options.folder, marker_too=options.all)
    except ExampleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"removed from {options.folder}: {', '.join(removed) if removed else 'nothing was left'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
