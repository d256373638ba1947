#!/usr/bin/env python3
"""Stands in for llama-server: the flags of an old or a new version, and the ways in which it can go wrong.

FAKE_LLAMA_VERSION is `old` or `new`; FAKE_LLAMA_MODE one of the modes below; FAKE_LLAMA_ARGUMENTS a file for the arguments
that it was started with; where it hangs, it says so in FAKE_LLAMA_ARGUMENTS.hangs.
"""

import ctypes
import http.server
import json
import os
import signal
import sys
import time

OLD_HELP = """usage: llama-server [options]
-h,    --help, --usage                  print usage and exit
--version                               show version and build info
-t,    --threads N                      number of threads to use during generation (default: -1)
-c,    --ctx-size N                     size of the prompt context (default: 4096, 0 = loaded from model)
--mlock                                 force system to keep model in RAM rather than swapping or compressing
--no-mmap                               do not memory-map model (slower load but may reduce pageouts if not using mlock)
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
--no-warmup                             skip warming up the model with an empty run
--host HOST                             ip address to listen (default: 127.0.0.1)
--port PORT                             port to listen (default: 8080)
"""
NEW_HELP = """usage: llama-server [options]
-h,    --help, --usage                  print usage and exit
--version                               show version and build info
-t,    --threads N                      number of threads to use during generation (default: -1)
-c,    --ctx-size N                     size of the prompt context (default: 4096, 0 = loaded from model)
-lm,   --load-mode {mmap,none,mlock,dio}
                                        how the weights come into memory
-nr,   --repack, --no-repack            whether to enable weight repacking (default: enabled)
--offline                               forces use of cache, prevents network access
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
--warmup, --no-warmup                   whether to perform warmup with an empty run (default: enabled)
--host HOST                             ip address to listen, or bind to an UNIX socket if the address ends with .sock
--port PORT                             port to listen (default: 8080)
"""

MODE = os.environ.get("FAKE_LLAMA_MODE", "")
LOAD_SECONDS = 0.2


def hang():
    with open(os.environ["FAKE_LLAMA_ARGUMENTS"] + ".hangs", "w", encoding="utf-8"):
        pass
    time.sleep(600)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ready_at = 0.0

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if MODE == "health_hangs":
            hang()
        if MODE == "hangs" or time.monotonic() < self.ready_at:
            self.answer(503, {"error": {"code": 503, "message": "Loading model"}})
        elif MODE == "health_error":
            self.answer(500, {"error": {"message": "no such model"}})
        else:
            self.answer(200, {"status": "ok"})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if MODE == "crashes_in_prompt":
            print("ggml_abort: cannot compute", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if MODE == "prompt_hangs":
            hang()
        if MODE == "prompt_error":
            self.answer(400, {"error": {"message": "the prompt is too long"}})
            return
        if MODE == "no_json":
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")
            return
        if MODE == "no_timings":
            self.answer(200, {"content": ""})
            return
        if MODE == "eats_memory":
            self.server.eaten = bytearray(os.urandom(1 << 20) * 512)
        tokens = 0 if MODE == "generates_nothing" else request["n_predict"]
        self.answer(200, {"content": "x" * tokens, "timings": {
            "prompt_n": len(request["prompt"]), "prompt_ms": 100.0, "prompt_per_second": len(request["prompt"]) * 10.0,
            "predicted_n": tokens, "predicted_ms": tokens * 50.0, "predicted_per_second": 20.0}})

    def log_message(self, *arguments):
        pass


def main():
    new = os.environ.get("FAKE_LLAMA_VERSION") == "new"
    if MODE == "help_hangs":
        hang()
    if "--help" in sys.argv:
        print(NEW_HELP if new else OLD_HELP)
        return 0
    if "--version" in sys.argv:
        print(f"version: {9000 if new else 4748} (ee02ad02)\nbuilt with cc", file=sys.stderr)
        return 0
    if "FAKE_LLAMA_ARGUMENTS" in os.environ:
        with open(os.environ["FAKE_LLAMA_ARGUMENTS"], "w", encoding="utf-8") as file:
            file.write(" ".join(sys.argv[1:]))
    if MODE == "crashes":
        print("main: loading\nerror loading model: tensor 'blk.0' is missing\nmain: exiting", file=sys.stderr)
        return 3
    if MODE == "silent":
        return 4
    if MODE == "locks":
        ctypes.CDLL(None).mlockall(1)
    Handler.ready_at = time.monotonic() + LOAD_SECONDS
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
