"""The runs' part of `make bench`: the table of many runs, with a round trip to AWS that takes its time.

A server of ours answers as S3, EC2 and STS do, each call after CALL_S, as many at a time as are asked: what is measured
is how many round trips follow each other, and what the client makes of the answers. An emulator would take more time
for its answers than the round trips do. The bound is what no client can beat that lists each run's folder and reads its
state over as many connections: its own start, and those round trips.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

CALL_S = 0.05
RUNS = 200
_CONNECTIONS = 32
_ALIVE = range(0, RUNS, 10)  # every tenth run trains on a machine
_PIECES = 40


def table_of_runs() -> dict[str, float]:
    """Seconds of `provision runs`, of `provision --version` with the SDK (its start), and the calls of each kind."""
    server = _Server()
    with tempfile.TemporaryDirectory() as folder, server.running() as address:
        env = {
            **os.environ, "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
            **{f"XDG_{kind}_HOME": folder for kind in ("CONFIG", "STATE", "CACHE")},
        }  # fmt: skip
        said, seconds = _timed([sys.executable, "-m", "provision", "runs", "--json"], env)
        _, start = _timed([sys.executable, "-c", "import boto3, provision.cli"], env)
    shown = said.count('"run":')
    if shown != RUNS or said.count('"running"') != len(_ALIVE):
        raise RuntimeError(f"{shown} runs were shown:\n{said[:2000]}")
    return {"seconds": seconds, "start": start, "bound": start + 2 * RUNS / _CONNECTIONS * CALL_S,
            "listings": float(server.listings), "calls": float(server.calls)}  # fmt: skip


def _timed(words: list[str], env: dict[str, str]) -> tuple[str, float]:
    begun = time.monotonic()
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    return done.stdout, time.monotonic() - begun


class _Server:
    """Answers for RUNS runs of _PIECES pieces of log, two snapshots and one attempt each."""

    def __init__(self) -> None:
        self.calls = self.listings = 0

    def running(self) -> "_Running":
        return _Running(self)

    async def serve(self, ready: Callable[[int], None]) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        ready(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                await asyncio.sleep(CALL_S)
                self.calls += 1
                method, target = head.decode().split(" ", 2)[:2]
                answer = self._answer(method, target, body.decode()).encode()
                code = "200 OK" if answer or method == "HEAD" else "404 Not Found"
                writer.write(f"HTTP/1.1 {code}\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, method: str, target: str, body: str) -> str:
        if "GetCallerIdentity" in body:
            who = "<Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/bench</Arn><UserId>x</UserId>"
            result = f"<GetCallerIdentityResult>{who}</GetCallerIdentityResult>"
            return f"<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"
        if "DescribeInstances" in body:
            machines = "".join(_machine(number) for number in _ALIVE)
            return f"<DescribeInstancesResponse><reservationSet>{machines}</reservationSet></DescribeInstancesResponse>"
        place, words = urlsplit(target), parse_qs(urlsplit(target).query)
        if method == "HEAD":
            return ""
        if "prefix" in words:
            return self._listing(words["prefix"][0], "delimiter" in words)
        return _object(unquote(place.path))

    def _listing(self, prefix: str, folders: bool) -> str:
        if folders:
            rows = "".join(f"<CommonPrefixes><Prefix>runs/{_name(number)}/</Prefix></CommonPrefixes>"
                           for number in range(RUNS))  # fmt: skip
        else:
            self.listings += 1
            names = [
                "manifest.json",
                "state.json",
                "attempts/001.json",
                *(f"log/001-{piece:012d}" for piece in range(_PIECES)),
                *(f"snapshots/{at:09d}-001/{file}" for at in (500, 1000) for file in ("net", "state", "complete.json")),
            ]
            rows = "".join(f"<Contents><Key>{prefix}{name}</Key><Size>1000</Size><ETag>x</ETag>"
                           "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                           for name in sorted(names))  # fmt: skip
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"


class _Running:
    def __init__(self, server: _Server) -> None:
        self._server = server

    def __enter__(self) -> str:
        port: list[int] = []
        heard = threading.Event()

        def ready(number: int) -> None:
            port.append(number)
            heard.set()

        loop = self._loop = asyncio.new_event_loop()
        self._task = loop.create_task(self._server.serve(ready))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        heard.wait(10)
        return f"http://127.0.0.1:{port[0]}"

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(5)


def _name(number: int) -> str:
    return f"digits-20260101-101500-{number:04x}"


def _machine(number: int) -> str:
    about = {
        "instanceId": f"i-{number}", "instanceType": "p3.8xlarge", "launchTime": "2026-01-01T00:00:00.000Z",
        "instanceState": "<name>running</name>", "placement": "<availabilityZone>us-east-1a</availabilityZone>",
        "tagSet": "<item><key>provision:name</key><value>lab</value></item>",
    }  # fmt: skip
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in about.items())
    return f"<item><instancesSet><item>{fields}</item></instancesSet></item>"


def _object(path: str) -> str:
    number = int(path.split("/runs/")[1].split("/")[0].rsplit("-", 1)[1], 16)
    if path.endswith("state.json"):
        state = "running" if number in _ALIVE else "finished"
        return json.dumps({"state": state, "attempt": 1, "instance": f"i-{number}", "machine": "lab"})
    if "/attempts/" in path:
        return f'{{"number": 1, "instance": "i-{number}", "name": "lab", "zone": "us-east-1a", "started": "2026"}}'
    return ""


if __name__ == "__main__":
    print(table_of_runs())
