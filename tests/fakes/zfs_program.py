"""A ``zfs`` and ``zpool`` of our tests: datasets in a JSON file, streams of OpenZFS's own records.

Says and does what OpenZFS 2.3 was seen to say and do (``tests/integration/test_zfs_stream.py`` runs
against both). A dataset's content is one text. ``broken`` in the file makes a command fail.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import struct
import sys
from pathlib import Path
from typing import Any

State = dict[str, Any]
_MAGIC = 0x2F5BACBAC
_BODY = 1 << 18  # so that a stream is more than one read of a pipe


def install(directory: Path) -> dict[str, str]:
    """Write the programs into a directory; return what the environment needs to find them."""
    directory.mkdir(parents=True)
    for name in ("zfs", "zpool", "zstream"):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        program.chmod(0o755)
    state = directory / "state.json"
    state.write_text(json.dumps({"datasets": {}, "broken": {}}))
    return {"PATH": f"{directory}:{os.environ['PATH']}", "FAKE_ZFS": str(state)}


def guid(*words: str) -> str:
    return str(int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()[:7], "big"))


def add(state: State, name: str, content: str = "", **facts: str) -> None:
    """Put a dataset into the state."""
    state["datasets"][name] = {
        "guid": guid(name, str(len(state["datasets"]))),
        "content": content,
        "facts": facts,
        "snapshots": {},
    }


class FailedError(Exception):
    """What the program says before it ends with 1."""


def find(state: State, name: str) -> dict[str, Any]:
    dataset, _, snapshot = name.partition("@")
    found = state["datasets"].get(dataset)
    if found is None or (snapshot and snapshot not in found["snapshots"]):
        raise FailedError(f"cannot open '{name}': dataset does not exist")
    result: dict[str, Any] = found["snapshots"][snapshot] if snapshot else found
    return result


def below(state: State, name: str, recursive: bool) -> list[str]:
    return [
        one
        for one in sorted(state["datasets"])
        if one == name or (recursive and one.startswith(f"{name}/"))
    ]


def row(state: State, name: str, columns: list[str]) -> str:
    found = find(state, name)
    facts = state["datasets"][name.partition("@")[0]]["facts"]
    size = str(len(found["content"]))
    known = {
        "name": name, "guid": found["guid"], "type": "filesystem", "encryption": "off",
        "keystatus": "-", "keyformat": "none", "encryptionroot": "-", "createtxg": "7",
        "creation": "1795678441", "compressratio": "1.00", "written": size, "referenced": size,
        "logicalreferenced": size, **facts,
    }  # fmt: skip
    return "\t".join(known[column] for column in columns)


def listing(state: State, options: dict[str, str], words: list[str]) -> None:
    columns = options["-o"].split(",")
    for word in words:
        find(state, word)
        names = below(state, word.partition("@")[0], "-r" in options)
        if options["-t"] != "snapshot":
            print(*(row(state, name, columns) for name in names), sep="\n")
        for name in names if options["-t"] == "snapshot" else ():
            held = state["datasets"][name]["snapshots"]
            wanted = [f"{name}@{one}" for one in held if "@" not in word or word == f"{name}@{one}"]
            for one in wanted:
                print(row(state, one, columns))


def snapshot(state: State, options: dict[str, str], words: list[str]) -> None:
    (handle,) = words
    dataset, _, name = handle.partition("@")
    find(state, dataset)
    for one in below(state, dataset, "-r" in options):
        found = state["datasets"][one]
        found["snapshots"][name] = {
            "guid": guid(one, name, found["content"]), "content": found["content"], "holds": [],
        }  # fmt: skip


def hold(state: State, options: dict[str, str], words: list[str]) -> None:
    tag, handle = words
    find(state, handle)
    dataset, _, name = handle.partition("@")
    for one in below(state, dataset, "-r" in options):
        state["datasets"][one]["snapshots"][name]["holds"].append(tag)


def release(state: State, options: dict[str, str], words: list[str]) -> None:
    tag, handle = words
    dataset, _, name = handle.partition("@")
    found = [
        state["datasets"][one]["snapshots"].get(name, {"holds": []})
        for one in below(state, dataset, "-r" in options)
    ]
    if not any(tag in one["holds"] for one in found):
        raise FailedError(f"cannot release hold from snapshot '{handle}': dataset does not exist")
    for one in found:
        one["holds"] = [other for other in one["holds"] if other != tag]


def destroy(state: State, options: dict[str, str], words: list[str]) -> None:
    (handle,) = words
    dataset, _, name = handle.partition("@")
    if not name:
        find(state, dataset)
        for one in below(state, dataset, "-r" in options):
            del state["datasets"][one]
        return
    found = [state["datasets"][one]["snapshots"] for one in below(state, dataset, "-r" in options)]
    if not any(name in one for one in found):
        raise FailedError("could not find any snapshots to destroy; check snapshot names.")
    if any(one[name]["holds"] for one in found if name in one):
        raise FailedError(f"cannot destroy snapshot {handle}: it's being held. Run 'zfs holds'")
    for one in found:
        one.pop(name, None)


def record(first: bytes) -> bytes:
    return first.ljust(312, b"\0")


def send(state: State, options: dict[str, str], words: list[str]) -> None:
    (handle,) = words
    dataset, _, name = handle.partition("@")
    whole = find(state, handle)
    since = "0"
    if "-i" in options:
        base = state["datasets"][dataset]["snapshots"].get(options["-i"].lstrip("@"))
        if base is None:
            raise FailedError(f"cannot send '{handle}': incremental source does not exist")
        since = base["guid"]
    facts = state["datasets"][dataset]["facts"]
    if facts.get("keystatus") == "unavailable" and "-w" not in options:
        raise FailedError(f"warning: cannot send '{handle}': dataset key must be loaded")
    held = {}
    for one in below(state, dataset, "-R" in options):
        if name in state["datasets"][one]["snapshots"]:
            relative = one.removeprefix(dataset)
            held[relative] = {
                **state["datasets"][one],
                "snapshots": {name: {**state["datasets"][one]["snapshots"][name], "holds": []}},
            }
    body = json.dumps({"since": since, "held": held, "fill": "x" * _BODY}).encode()
    kind = 2 if {"-p", "-R"} & options.keys() else 1
    guids = (0, 0) if kind == 2 else (int(whole["guid"]), int(since))
    begin = struct.pack("<IIQQQIIQQ", 0, len(body), _MAGIC, kind, 0, 2, 0, *guids)
    out = sys.stdout.buffer
    out.write(record(begin) + body)
    if "cut" in state["broken"]:
        out.flush()
        raise FailedError(f"warning: cannot send '{handle}': Input/output error")
    out.write(record(struct.pack("<II", 5, 0)))


def receive(state: State, options: dict[str, str], words: list[str]) -> None:
    (target,) = words
    data = sys.stdin.buffer.read()
    size = struct.unpack_from("<II", data)[1] if len(data) >= 8 else 0
    if len(data) != 312 + size + 312:
        raise FailedError("cannot receive new filesystem stream: incomplete stream")
    told = json.loads(data[312 : 312 + size])
    exists = target in state["datasets"]
    if told["since"] == "0" and exists:
        raise FailedError(f"cannot receive new filesystem stream: destination '{target}' exists")
    if told["since"] != "0" and not exists:
        raise FailedError(
            f"cannot receive incremental stream: destination '{target}' does not exist"
        )
    there = [
        one["guid"]
        for one in state["datasets"].get(target, {"snapshots": {}})["snapshots"].values()
    ]
    if told["since"] != "0" and told["since"] not in there:
        raise FailedError("cannot receive incremental stream: most recent snapshot does not match")
    for relative, dataset in told["held"].items():
        name = f"{target}{relative}"
        known = state["datasets"].get(name, {"guid": guid(name), "snapshots": {}})
        known |= {"content": dataset["content"], "facts": dataset["facts"]}
        known["snapshots"] |= dataset["snapshots"]
        state["datasets"][name] = known


def pool(state: State, verb: str, words: list[str]) -> None:
    name = words[0] if verb == "create" else words[-1]
    if verb == "create":
        add(state, name)
    elif name not in state["datasets"]:
        raise FailedError(f"cannot open '{name}': no such pool")
    else:
        for one in below(state, name, True):
            del state["datasets"][one]


def parse(arguments: list[str], valued: str) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    words: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if re.fullmatch(r"-[a-zA-Z]+", word) and word[-1] in valued:
            options[word] = waiting.pop(0)
        elif word.startswith("-"):
            options[word] = ""
        else:
            words.append(word)
    return options, words


def run(state: State, program: str, verb: str, arguments: list[str]) -> None:
    if program == "zstream":
        print(f"SUMMARY:\n\tTotal stream length = {len(sys.stdin.buffer.read())}")
        return
    if verb in state["broken"]:
        raise FailedError(state["broken"][verb])
    if program == "zpool":
        pool(state, verb, parse(arguments, "oO")[1])
    elif verb == "get":
        words = parse(arguments, "o")[1]
        print(find(state, words[-1])["guid"])
    else:
        valued = {"list": "ot", "send": "i", "receive": "x"}.get(verb, "")
        doing = {
            "list": listing,
            "snapshot": snapshot,
            "hold": hold,
            "release": release,
            "destroy": destroy,
            "send": send,
            "receive": receive,
        }[verb]
        doing(state, *parse(arguments, valued))


def main() -> int:
    path = Path(os.environ["FAKE_ZFS"])
    program, verb, *arguments = sys.argv[1:]
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text())
        try:
            run(state, program, verb, arguments)
        except FailedError as error:
            print(error, file=sys.stderr)
            return 1
        path.with_suffix(".new").write_text(json.dumps(state))
        path.with_suffix(".new").rename(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
