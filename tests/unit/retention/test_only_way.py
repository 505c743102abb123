"""Nothing in llmvault deletes a backup but an approved plan: all calls that could are known.

Every call by which files, versions, rows or collections go is listed here with its reason; who adds
one has to say what it deletes. A temporary directory that ends with its context is not listed: it
removes what it has made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import llmvault

SOURCES = Path(llmvault.__file__).parent
# words with which restic takes away what a snapshot refers to
RESTIC_WORDS = {"forget", "prune", "rewrite", "--prune", "--forget", "--delete", "--remove-all"}
_SERVERS = ("chroma", "milvus", "qdrant")  # which are asked to forget points
S3_WORDS = {"delete_object", "delete_objects", "delete_bucket"}


# whatever takes something away that was there: from a disk, a store, a database
DELETING = {
    *("unlink", "rmtree", "rmdir", "remove", "removedirs", "remove_tree", "truncate", "ftruncate"),
    *("delete", "drop", "destroy", "move", "rename"),
}
ALLOWED = {
    "the functions that the others call; whoever calls them is listed": {
        "core/files.py remove_tree",
        "sources/chroma/opened.py delete",
        "sources/milvus/worker.py drop",
    },
    "tables of the catalog, which is an index: called by no command": {
        "catalog/migrations/versions/0001_first_tables.py downgrade",
        "catalog/migrations/versions/0002_proofs.py downgrade",
        "catalog/migrations/versions/0003_retention.py downgrade",
        "catalog/migrations/versions/0004_schedule.py downgrade",
    },
    "canaries of the tamper test, by the version that was just written": {
        "buckets/tamper.py _attack",
        "buckets/tamper.py _attacks_on_version",
        "buckets/tamper.py _unhide",
    },
    "delete markers that hide what is brought back": {"locks/undelete.py undelete"},
    "by an approved plan: the row and this host's manifest of what was deleted from a repository": {
        "catalog/deletions.py forget_point",
        "retention/run.py _remember",
    },
    "by an approved plan: entries of the ledger that no policy, hold or witness keeps": {
        "ledger/prune.py apply_prune",
    },
    "tiles of the ledger whose bytes are in wider ones": {"ledger/writer.py _remove_outgrown"},
    "a private key that is unreadable, or signed nothing; the public ones stay": {
        "ledger/rotation.py rotate_key",
        "recovery/run.py _enter",
    },
    "points that a person asked to have deleted, in the live store and not in a backup": {
        "sources/chroma/opened.py forget",
        "sources/lancedb/erasing.py forget",
        "sources/milvus/worker.py forget",
        "sources/postgres/points.py forget",
    },
    "a live store's directory once it was made anew without such points, or a fresh one not used": {
        "sources/stores/erasing.py discard",
        "sources/stores/erasing.py mend",
        "sources/stores/erasing.py put_in_place",
    },
    "our own lock and head start, which serve until restic's snapshot is there": {
        "packs/files.py _write",
        "packs/files.py held",
        "packs/journal.py remove",
        "packs/journal.py sweep",
        "packs/run.py written_ahead",
    },
    "a scratch pool of our own for a drill of ZFS streams": {
        "sources/zfs_stream/receiving.py _destroy_dead",
        "sources/zfs_stream/receiving.py _forget",
        "sources/zfs_stream/receiving.py scratch_pool",
    },
    "units of systemd that llmvault installed and no longer needs": {
        "schedule/install.py _remove_ours",
    },
    "the file of an unfinished write, which nothing names yet": {
        "core/files.py write_durably",
        "packs/files.py put",
        "packs/files.py save",
        "packs/files.py sweep",
        "packs/writing.py abandon",
        "keys/signing.py _make",
        "sources/sqlite/store.py _place",
    },
    "what this run laid out, or one of its kind that died, in a folder of the state": {
        "recovery/copying.py copy_whole",
        "recovery/place.py clear",
        "recovery/place.py done",
        "recovery_points/memory.py staging",
        "schedule/wiring.py adopt",
        "sources/records/export.py _sweep",
        "sources/records/export.py _sweep_collections",
        "sources/qdrant/snapshots.py _write",
    },
    "who holds a lock, in a file of the state": {"recovery_points/memory.py exclusive"},
    "logs of the scheduler's older runs": {"schedule/execute.py _log"},
    "the scratch of a drill, which has the drill's marker": {
        "drill/hosts/local.py _create",
        "drill/hosts/local.py _destroy",
        "drill/hosts/local.py _remove",
    },
    "an entry of a list in memory": {"drill/wording.py other_shortfalls"},
    "filesystem snapshots that our own journal names, with our prefix": {
        "snapshotters/journal.py finish",
        "snapshotters/journal.py new_journal",
        "snapshotters/run.py _end",
    },
    "the copy of a source in a backup's staging, before it is taken anew or after it was read": {
        "sources/chroma/directory.py _copy_database",
        "sources/chroma/directory.py _copy_when_settled",
        "sources/chroma/directory.py copy_store",
        "sources/chroma/directory.py drop_others",
        "sources/chroma/store.py _capture_directory",
        "sources/faiss/directory.py copy_settled",
        "sources/lancedb/directory.py _copy",
        "sources/milvus/store.py capture",
        "sources/qdrant/worker.py _unpacked",
        "sources/qdrant/worker.py drop",
        "sources/sqlite/store.py reading_records",
        "sources/stores/settled.py copy_settled",
    },
    "backups, snapshots and tags in a live server that have our prefix": {
        "sources/elasticsearch/store.py _sweep",
        "sources/elasticsearch/store.py capture",
        "sources/lancedb/worker.py unpin",
        "sources/weaviate/store.py _sweep",
        "sources/weaviate/store.py capture",
    },
    "private database clusters of our own, unlocked since their process died": {
        "sources/postgres/cluster.py _locked_directory",
        "sources/postgres/cluster.py _sweep",
    },
    "what a drill brought back into a scratch server, after it was looked at": {
        "sources/elasticsearch/store.py open_restored",
        "sources/weaviate/store.py open_restored",
    },
    "a restore that failed, in a place or collection that was empty or not there before": {
        "sources/chroma/points.py undo",
        "sources/stores/files.py emptied_on_error",
        "sources/elasticsearch/store.py _restore",
        "sources/postgres/physical.py load",
        "sources/qdrant/points.py undo",
        "sources/qdrant/store.py _load_snapshots",
        "sources/records/export.py undo",
        "sources/redis/store.py _take_back",
        "sources/sqlite/importing.py target",
        "sources/weaviate/store.py _restore",
    },
    "a file that was just made, cut to the size of what is cloned into it": {
        "sources/stores/files.py clone_file",
    },
}


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (str(path.relative_to(SOURCES)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(SOURCES.rglob("*.py"))
    )


@cache
def uses() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Return file, functions around it and name of every attribute and name in the program."""
    found: list[tuple[str, tuple[str, ...], str]] = []

    def visit(node: ast.AST, file: str, around: tuple[str, ...]) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            around = (*around, node.name)
        if isinstance(node, ast.Attribute):
            found.append((file, around, node.attr))
        elif isinstance(node, ast.Name):
            found.append((file, around, node.id))
        elif isinstance(node, ast.ImportFrom):  # something imported under another name
            found.extend((file, around, one.name) for one in node.names if one.asname)
        for child in ast.iter_child_nodes(node):
            visit(child, file, around)

    for file, tree in modules():
        visit(tree, file, ())
    return tuple(found)


def deletions() -> Iterator[tuple[str, str]]:
    """Yield ``file function`` and the name of everything that deletes, however it is reached."""
    for file, around, name in uses():
        if name in DELETING or name.startswith(("delete_", "drop_")):
            yield f"{file} {around[-1] if around else 'at import'}", name


def callers(*names: str) -> set[tuple[str, str]]:
    """Return file and function of everything that refers to an attribute or a name."""
    return {(file, one) for file, around, name in uses() if name in names for one in around}


@cache
def strings() -> tuple[tuple[str, str], ...]:
    """Return file and text of every string of the program."""
    return tuple(
        (file, node.value)
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def saying(words: set[str]) -> set[str]:
    """Return the files in which one of some words is a whole string of the program."""
    return {file for file, text in strings() if text in words}


def test_restic_is_told_to_delete_in_one_place() -> None:
    # "prune" of the ledger's old entries: a kind of entry, a command, a section of the policy
    # "forget" of points: what is asked of a store
    nouns = {
        *("evidence/kinds.py", "cli/ledger.py", "policy/references.py"),
        *(f"sources/{kind}/worker.py" for kind in ("lancedb", "milvus", "sqlite")),
        *("sources/lancedb/store.py", "sources/milvus/points.py", "sources/sqlite/store.py"),
    }
    assert saying(RESTIC_WORDS) - nouns == {"restic/command.py"}
    section = {
        ("app/pruning.py", "declared_prune"),
        ("policy/references.py", "reference_problems"),
        *((f"sources/{kind}/store.py", "_erase_from_server") for kind in _SERVERS),
        ("sources/postgres/database.py", "erase"),
    }
    assert callers("forget", "prune") - section == {
        ("restic/repo.py", "forget"),
        ("restic/repo.py", "prune"),
        ("retention/apply.py", "empty_repository"),
    }


def test_every_call_that_deletes_is_known() -> None:
    found = set(deletions())
    allowed = {place for places in ALLOWED.values() for place in places}
    assert sum(map(len, ALLOWED.values())) == len(allowed), "listed twice"
    unknown = {(place, name) for place, name in found if place not in allowed}
    assert unknown == set(), "say in ALLOWED what it deletes, and why that is no backup"
    assert allowed - {place for place, _ in found} == set(), "no longer there"


def test_no_command_takes_the_catalog_back_a_version() -> None:
    assert callers("downgrade") == set()


def test_no_program_is_started_that_deletes_files() -> None:
    assert saying({"rm", "rmdir", "unlink", "shred", "wipefs", "truncate", "dd", "mkfs"}) == set()
    assert saying({"destroy", "lvremove"}) == {
        "snapshotters/commands.py",  # which package has the program
        "snapshotters/lvm.py",
        "snapshotters/zfs.py",
        "sources/zfs_stream/receiving.py",  # scratch pools of our own
        "sources/zfs_stream/snapshots.py",  # snapshots that our own journal names
    }


def test_that_place_is_reached_with_an_approved_plan_only() -> None:
    assert callers("empty_repository") == {("retention/run.py", "_empty_all")}
    assert callers("_empty_all") == {("retention/run.py", "run")}
    assert callers("_Application") == {("retention/run.py", "apply_plan")}
    (apply_plan,) = [
        node
        for file, tree in modules()
        if file == "retention/run.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "apply_plan"
    ]
    calls = [
        node.func.id
        for node in ast.walk(apply_plan)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert {"demand", "_Application"} <= set(calls)
    text = ast.unparse(apply_plan)
    assert text.index("demand(") < text.index("_Application(")


def test_a_store_is_told_to_delete_canaries_and_delete_markers_only() -> None:
    assert saying(S3_WORDS) == {"objectstore/s3.py"}
    users = {
        file
        for file, tree in modules()
        if file.startswith(("buckets/", "locks/", "app/", "copies/", "cli/", "objectstore/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "delete"
    }
    assert users == {"buckets/tamper.py", "locks/undelete.py"}
    importers = {
        file
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "llmvault.objectstore.s3"
    }
    assert all(file.startswith(("buckets/", "locks/", "app/")) for file in importers), importers
