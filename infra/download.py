"""A file over HTTP: gone on with where it broke off, tried several times, whole or not at all.

What is there of TARGET lies in TARGET.part until it is all there; TARGET.part.tag holds the server's mark (ETag, or
the time of change) of the version that the part belongs to. A server whose file has changed meanwhile sends it from
the start (If-Range), and so does one that knows no ranges. Proxies and CA bundles are those of the environment
(https_proxy, SSL_CERT_FILE), as Python's urllib has them.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.disk import writing
from infra.errors import HostError

Progress = Callable[[int, int], None]
Sleep = Callable[[float], None]

TRIES = 8
_TIMEOUT_S = 60.0
_CHUNK = 1 << 20
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_AGENT = "provision (training kits)"
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Remote:
    """What the server says of a file: bytes (0 where it does not say), and the mark of its version."""

    size: int
    tag: str


class _Broken(Exception):
    """The connection ended early, or the server is busy: worth another try."""


def look(url: str) -> Remote:
    """The file's size and mark, without fetching it. HostError where it cannot be had."""
    try:
        with _open(url, {}, "HEAD") as answer:
            return Remote(_length(answer), _tag(answer))
    except (_Broken, urllib.error.HTTPError):  # some servers answer no HEAD: the fetch itself will tell
        return Remote(0, "")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error


def fetch(
    url: str, target: Path, progress: Progress = lambda done, total: None, *, tries: int = TRIES,
    sleep: Sleep = time.sleep,
) -> Path:  # fmt: skip
    """Bring the file to `target`. `progress` gets bytes here and bytes in all (0: not known).

    A try that brings something does not count. HostError where the server has no such file, or breaks off again and
    again: what came stays, and the next call goes on with it. DiskError where there is no room.
    """
    part = target.with_name(target.name + ".part")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    while True:
        before = _size(part)
        try:
            _more(url, part, progress)
            break
        except (_Broken, http.client.HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise _refused(url, error) from error
            failed = 1 if _size(part) > before else failed + 1
            if failed >= tries:
                raise _unreachable(url, error) from error
            sleep(min(2.0 ** (failed - 1), _LONGEST_PAUSE_S))
    with writing(target):
        part.replace(target)
        _mark(part).unlink(missing_ok=True)
    return target


def digests(path: Path, kinds: Iterable[str], progress: Progress = lambda done, total: None) -> dict[str, str]:
    """The file's sums (hex) by their kind (sha256, md5), read once."""
    total, done = path.stat().st_size, 0
    found = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as data:
        while chunk := data.read(_CHUNK):
            for one in found.values():
                one.update(chunk)
            done += len(chunk)
            progress(done, total)
    return {kind: one.hexdigest() for kind, one in found.items()}


def _more(url: str, part: Path, progress: Progress) -> None:
    """Bring what is missing. _Broken where it ends early."""
    have, tag = _size(part), _read_mark(part)
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
    try:
        answer = _open(url, headers, "GET")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # all of it is here, or it has become shorter: only a fresh start tells
            _forget(part)
            raise _Broken("the part did not fit") from error
        raise
    with answer:
        begin = have if answer.status == 206 else 0
        if begin and not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
            _forget(part)
            raise _Broken("the server sent another range")
        length = _length(answer)
        total = begin + length if length else 0
        with writing(part):
            if not begin:
                _mark(part).write_text(_tag(answer), encoding="latin-1")
            done = _append(answer, part, begin, lambda count: progress(count, total))
    if total and done < total:
        raise _Broken(f"it broke off at {done} of {total} bytes")


def _append(answer: Any, part: Path, begin: int, at: Callable[[int], None]) -> int:
    """Write the answer's body behind the first `begin` bytes; how many are there then."""
    done = begin
    with part.open("r+b" if begin else "wb") as out:
        out.truncate(begin)
        out.seek(begin)
        at(done)
        while chunk := _read(answer):
            out.write(chunk)
            done += len(chunk)
            at(done)
    return done


def _read(answer: Any) -> bytes:
    """The network's errors as _Broken: those of the disk are OSErrors too."""
    try:
        return bytes(answer.read1(_CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error)) from error


def _open(url: str, headers: dict[str, str], method: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT, **headers}, method=method)
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code in _AGAIN:
            raise _Broken(f"{error.code} {error.reason}") from error
        raise


def _length(answer: Any) -> int:
    return int(answer.headers.get("Content-Length") or 0)


def _tag(answer: Any) -> str:
    """A mark that tells versions apart; a weak ETag does not."""
    strong = answer.headers.get("ETag") or ""
    return str(answer.headers.get("Last-Modified") or "") if strong.startswith("W/") or not strong else str(strong)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _mark(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _read_mark(part: Path) -> str:
    return _mark(part).read_text(encoding="latin-1") if _mark(part).exists() else ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)


def _refused(url: str, error: urllib.error.HTTPError) -> HostError:
    gone = error.code in (404, 410)
    mend = "it may have moved: fetch it by hand from its page" if gone else "it may need a login: fetch it by hand"
    return HostError(f"{url}: the server says {error.code} {error.reason}", mend)


def _unreachable(url: str, error: Exception) -> HostError:
    reason = getattr(error, "reason", None) or error
    return HostError(f"{url} cannot be fetched: {reason}", "run the same command again: it goes on where it stopped")
