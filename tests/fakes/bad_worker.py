"""A worker process that misbehaves on demand: ``bad_worker.py MODE LOG``.

Modes: ``exits`` ``silent`` ``babbles`` ``crashes`` ``late`` ``raises`` ``closes`` ``good``.
Its first message is ``{"ready": true}``; then it answers questions.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import IO

from llmvault.drill.engines.worker import Message, serve, take_over_outputs, tell


def main() -> None:
    mode = sys.argv[1]
    if mode == "exits":
        sys.exit("no module named torch")
    parent = take_over_outputs(Path(sys.argv[2]))
    print(f"a library prints to standard output in mode {mode}", flush=True)
    os.write(2, b"and another one to standard error\n")
    if mode == "silent":
        time.sleep(60)
    tell(parent, {"ready": True})
    if mode == "closes":
        sys.stdin.close()
        os.close(0)
        time.sleep(60)
    serve(parent, lambda question: answer(mode, question, parent))


def answer(mode: str, question: Message, parent: IO[str]) -> Message:
    if mode == "babbles":
        parent.write("Loading checkpoint shards: 100%\n")
    if mode == "crashes":
        os.kill(os.getpid(), signal.SIGABRT)
    if mode == "late":
        time.sleep(0.5)
    if mode == "raises":
        raise RuntimeError("CUDA out of memory")
    return {"echo": question["say"]}


if __name__ == "__main__":
    main()
