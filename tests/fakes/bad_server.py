"""An HTTP server that misbehaves on demand: ``bad_server.py MODE PORT``.

Modes: ``exits`` ``never-ready`` ``mute`` (not even HTTP) ``no-models`` ``crashes`` ``hangs``
``trickles`` ``not-json`` ``http-500`` ``wrong-shape`` ``strict`` (refuses extensions, tells no
tokens) ``good``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STANDARD = {"model", "prompt", "max_tokens", "temperature", "seed", "input", "encoding_format"}


class Handler(BaseHTTPRequestHandler):
    mode = "good"

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(503 if self.mode == "never-ready" else 200, b"loading or not")
        elif self.path == "/v1/models":
            models = [] if self.mode == "no-models" else [{"id": "bad", "owned_by": "tests"}]
            self.reply(200, json.dumps({"data": models}).encode())
        else:
            self.reply(404, b"nothing here")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.mode == "crashes":
            print("assertion failed: the answer is 42", flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.mode == "hangs":
            time.sleep(60)
        elif self.mode == "trickles":
            self.trickle()
        elif self.mode == "not-json":
            self.reply(200, b"<html>hello</html>")
        elif self.mode == "http-500":
            self.reply(500, b'{"error": {"message": "out of memory"}}')
        elif self.mode == "wrong-shape":
            self.reply(200, b'{"choices": [], "data": [{"embedding": "none"}]}')
        elif self.mode == "strict" and not STANDARD.issuperset(body):
            self.reply(400, b'{"error": {"message": "unknown field"}}')
        else:
            self.answer(body)

    def answer(self, body: dict[str, object]) -> None:
        text = f"you said {body.get('prompt')}"
        embedding = [3.0, 0.0, 4.0]
        reply = {"choices": [{"text": text}], "data": [{"embedding": embedding}]}
        self.reply(200, json.dumps(reply).encode())

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)


def main() -> None:
    mode, port = sys.argv[1], int(sys.argv[2])
    print(f"bad server in mode {mode}", flush=True)
    if mode == "exits":
        sys.exit("no such device: cuda:7")
    if mode == "mute":
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.accept()
            time.sleep(60)
    Handler.mode = mode
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
