"""The notice's part of `make bench`: how long the guard needs to save what there is, against what the line needs.

A server of ours answers as S3, and takes bytes as fast as a line of RATE would bring them, over all connections
together; in the midst of one part it hangs up. The guard is the real one, with stand-ins for Docker and the metadata.
"""

import contextlib
import http.server
import json
import multiprocessing
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.host.guard import notes, snapshots, watch

RATE = 40e6  # bytes a second
SIZE = 1 << 30  # bytes to save
NOTICE_S = 120.0
_BROKEN = "partNumber=3&"  # of the first file
_PATTERN = r"snapshots/net_iter_(?P<iteration>\d+)\.(?P<part>model)"


def rows() -> dict[str, float]:
    """Seconds until all is in S3, of one training and of four, and the seconds that the line needs for it."""
    return {"one": saved(1, SIZE), "four": saved(4, SIZE), "line": SIZE / RATE}


def saved(trainings: int, size: int) -> float:
    """Seconds from the notice until the state of every training is in S3, each with its part of `size` bytes."""
    with tempfile.TemporaryDirectory() as folder, _line() as (address, kept):
        names = [f"run-{number}" for number in range(trainings)]
        notes.RUNS, notes.GUARD, watch.STATE = f"{folder}/runs", f"{folder}/guard", f"{folder}/state"
        for name in names:
            Path(folder, "runs", name, "snapshots").mkdir(parents=True)
            notes.plan(name, _plan(name, address), snapshots.apart)
        docker = _Docker(folder, size // trainings)
        guard = watch.Guard(_Metadata(), docker)
        guard.turn()
        begun = time.monotonic()
        guard.announce("spot interruption", NOTICE_S)
        guard.turn()
        seconds = time.monotonic() - begun
        there: dict[str, int] = kept.copy()
        stored = sum(there.values())
        whole = [key for key in there if key.endswith("/complete.json")]
    if len(whole) != trainings or stored < size:
        raise RuntimeError(f"{len(whole)} of {trainings} snapshots and {stored} of {size} bytes were saved")
    return seconds


def _plan(name: str, address: str) -> dict[str, object]:
    return {
        "id": name, "bucket": "b", "prefix": f"runs/{name}/", "region": "us-east-1", "endpoint": address, "owner": "",
        "attempt": 1, "container": name, "snapshots": {"pattern": _PATTERN, "parts": ["model"], "keep": 0},
        "outputs": [], "push_seconds": 0, "stop": {"signal": "SIGINT", "timeout": 60, "said": None}, "instance": "i-1",
    }  # fmt: skip


class _Docker:
    """Containers that save `size` bytes when they are told to, and end."""

    def __init__(self, folder: str, size: int) -> None:
        self.folder = folder
        self.size = size
        self.ended: set[str] = set()

    def __call__(self, words: list[str]) -> tuple[int, str]:
        if words[:2] == ["docker", "kill"]:
            with Path(self.folder, "runs", words[-1], "snapshots", "net_iter_9.model").open("wb") as out:
                out.truncate(self.size)
            self.ended.add(words[-1])
        if words[:2] == ["docker", "inspect"]:
            return 0, ("exited" if words[-1] in self.ended else "running") + " 0 false"
        return 0, ""


class _Metadata:
    def credentials(self) -> dict[str, str]:
        return {"AccessKeyId": "x", "SecretAccessKey": "x"}


@contextlib.contextmanager
def _line() -> Iterator[tuple[str, Any]]:
    """The address of a server in a process of its own, and the bytes that it has of each key."""
    with multiprocessing.Manager() as manager:
        kept, port = manager.dict(), manager.Queue()
        process = multiprocessing.Process(target=_serve, args=(port, kept), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{port.get(timeout=60)}", kept
        finally:
            process.terminate()
            process.join()


def _serve(port: Any, kept: Any) -> None:
    free, lock, broken = [0.0], threading.Lock(), threading.Event()

    def take(count: int) -> None:
        """Wait until the line has brought so many bytes."""
        with lock:
            free[0] = max(free[0], time.monotonic()) + count / RATE
            until = free[0]
        time.sleep(max(0.0, until - time.monotonic()))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def body(self, left: int) -> bool:
            """Whether all of it came."""
            for at in range(0, left, 1 << 18):
                count = min(1 << 18, left - at)
                self.rfile.read(count)
                take(count)
                if _BROKEN in self.path and at > left / 2 and not broken.is_set():
                    broken.set()
                    return False
            return True

        def do_PUT(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if self.body(size):
                kept[re.sub(r"&uploadId=.*", "", self.path)] = size
                self.say(b"")
            else:
                self.close_connection = True

        do_POST = do_DELETE = do_PUT

        def do_GET(self) -> None:
            self.say(b"<ListBucketResult/>")

        def say(self, text: bytes) -> None:
            text = text or b"<UploadId>u</UploadId>"
            self.send_response(200)
            self.send_header("ETag", "e")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.put(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    print(json.dumps(rows()))
