"""Downloads for real: from a server of our own that breaks off midway, is busy, changes its file, knows no ranges."""

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra import download
from infra.errors import HostError, UsageError

BIG = os.urandom(3_000_000)


@dataclass
class Served:
    """What the server has, and how it behaves; `asked` is the log: method, path, Range."""

    files: dict[str, bytes]
    tag: str = '"one"'
    breaks_at: int = 0  # bytes of a body, after which the connection ends
    busy: int = 0  # so many answers are 503
    ranges: bool = True
    part: int = 0  # so many bytes at most are an answer, as a part
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    port: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served({"big.bin": BIG})

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            asked = self.headers.get("Range", "")
            state.asked.append((self.command, self.path, asked))
            data = state.files.get(self.path.lstrip("/"))
            if state.busy or data is None:
                code = 503 if state.busy else 404
                state.busy = max(0, state.busy - 1)
                self.send_error(code)
                return
            begin = 0
            if asked and state.ranges and self.headers.get("If-Range") == state.tag:
                begin = int(asked.removeprefix("bytes=").rstrip("-"))
            end = min(len(data), begin + state.part) if state.part else len(data)
            self.send_response(206 if begin or state.part else 200)
            self.send_header("ETag", state.tag)
            self.send_header("Content-Length", str(end - begin))
            if begin or state.part:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
            self.end_headers()
            data = data[:end]
            if body:
                self.wfile.write(data[begin : begin + state.breaks_at] if state.breaks_at else data[begin:])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def asleep() -> tuple[list[float], download.Sleep]:
    naps: list[float] = []
    return naps, naps.append


def test_a_download_goes_on_where_the_server_broke_off(served: Served, tmp_path: Path) -> None:
    served.breaks_at = 1_000_000
    naps, sleep = asleep()
    seen: list[tuple[int, int]] = []
    download.fetch(served.url("big.bin"), tmp_path / "big", lambda *at: seen.append(at), sleep=sleep)
    assert (tmp_path / "big").read_bytes() == BIG
    assert [row[2] for row in served.asked] == ["", "bytes=1000000-", "bytes=2000000-"]
    assert len(naps) == 2
    assert seen[-1] == (len(BIG), len(BIG))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big"]


def test_a_server_that_stays_broken_is_given_up_and_what_came_stays(served: Served, tmp_path: Path) -> None:
    served.breaks_at = 1_000_000
    served.ranges = False
    _, sleep = asleep()
    with pytest.raises(HostError, match="broke off at 1000000 of 3000000") as caught:
        download.fetch(served.url("big.bin"), tmp_path / "big", tries=3, sleep=sleep)
    assert "goes on where it stopped" in caught.value.mend
    assert not (tmp_path / "big").exists()
    assert (tmp_path / "big.part").stat().st_size == 1_000_000
    served.breaks_at = 0
    download.fetch(served.url("big.bin"), tmp_path / "big", sleep=sleep)
    assert (tmp_path / "big").read_bytes() == BIG  # all of it again, not a part behind a part


def test_a_busy_server_is_asked_again_with_longer_pauses(served: Served, tmp_path: Path) -> None:
    served.busy = 4
    naps, sleep = asleep()
    download.fetch(served.url("big.bin"), tmp_path / "big", sleep=sleep)
    assert (tmp_path / "big").read_bytes() == BIG
    assert naps == [1, 2, 4, 8]


def test_a_file_that_changed_meanwhile_comes_from_its_start(served: Served, tmp_path: Path) -> None:
    served.breaks_at = 1_000_000
    with pytest.raises(HostError):
        download.fetch(served.url("big.bin"), tmp_path / "big", tries=1, sleep=lambda _: served.files.clear())
    served.files["big.bin"], served.tag, served.breaks_at = BIG[::-1], '"two"', 0
    download.fetch(served.url("big.bin"), tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == BIG[::-1]


def test_a_part_that_nobody_asked_for_is_no_whole(served: Served, tmp_path: Path) -> None:
    """A server that answers the first request with a part of the file is asked for the rest."""
    served.part = 1_000_000
    download.fetch(served.url("big.bin"), tmp_path / "big", sleep=lambda _: None)
    assert (tmp_path / "big").read_bytes() == BIG
    assert [row[2] for row in served.asked] == ["", "bytes=1000000-", "bytes=2000000-"]


def test_what_is_not_there_is_not_asked_for_twice(served: Served, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="404"):
        download.fetch(served.url("none"), tmp_path / "none")
    assert len(served.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_told_at_once(served: Served, tmp_path: Path) -> None:
    (tmp_path / "big.part").mkdir()
    with pytest.raises(UsageError, match="big cannot be written: Is a directory"):
        download.fetch(served.url("big.bin"), tmp_path / "big")
    assert len(served.asked) == 1


def test_what_is_no_address_is_told(tmp_path: Path) -> None:
    for wrong in ("http://[x/y", "nowhere"):
        with pytest.raises(HostError, match="cannot be fetched"):
            download.fetch(wrong, tmp_path / "x")
        with pytest.raises(HostError, match="cannot be fetched"):
            download.size(wrong)


def test_nobody_listens(tmp_path: Path) -> None:
    naps, sleep = asleep()
    with pytest.raises(HostError, match="refused"):
        download.fetch("http://127.0.0.1:1/x", tmp_path / "x", tries=3, sleep=sleep)
    assert naps == [1, 2]


def provision(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "provision", "data", "get", *words]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "no_proxy": "127.0.0.1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_command_fetches_pins_and_unpacks(served: Served, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as out:
        info = tarfile.TarInfo("set/one.bin")
        info.size = len(BIG)
        out.addfile(info, io.BytesIO(BIG))
    served.files["set.tgz"] = buffer.getvalue()
    served.breaks_at = 2_000_000
    done = provision(tmp_path, served.url("set.tgz"), "here", "--unpack", "--json")
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    assert json.loads(done.stdout)["files"][served.url("set.tgz")]["sha256"] == digest
    assert f"pinned at first use: sha256 {digest}" in done.stderr
    assert (tmp_path / "here/set/one.bin").read_bytes() == BIG
    assert not (tmp_path / "here/set.tgz").exists()
    gets = [row for row in served.asked if row[0] == "GET"]
    assert [row[2] for row in gets] == ["", "bytes=2000000-"]

    again = provision(tmp_path, served.url("set.tgz"), "here", "--unpack")
    assert "nothing: all is there already" in again.stdout
    assert [row for row in served.asked if row[0] == "GET"] == gets

    served.files["set.tgz"], served.tag, served.breaks_at = b"something else", '"two"', 0
    other = provision(tmp_path, served.url("set.tgz"), "there", "--unpack")
    assert other.returncode == 9
    assert "is not the file that came on" in other.stderr
    assert not list((tmp_path / "there").glob("set*"))


def test_a_wrong_file_is_refused_by_its_published_sum(served: Served, tmp_path: Path) -> None:
    wrong = provision(tmp_path, served.url("big.bin"), "x", "--sha256", "0" * 64)
    assert wrong.returncode == 9
    assert "is not what was published" in wrong.stderr
    assert list((tmp_path / "x").iterdir()) == []
    right = provision(tmp_path, served.url("big.bin"), "x", "--sha256", hashlib.sha256(BIG).hexdigest())
    assert right.returncode == 0, right.stderr
    assert "sha256 as published" in right.stderr
