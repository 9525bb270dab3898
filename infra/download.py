"""A file over HTTP: resumed where it broke off, tried several times, there whole or not at all.

What has arrived of TARGET lies in TARGET.part until all of it is there; TARGET.part.of holds the server's mark (ETag,
or the time of change) of the version that the part belongs to. A server whose file has changed meanwhile sends it from
the start (If-Range), and so does one that knows no ranges. Proxies and CA bundles are those of the environment
(https_proxy, SSL_CERT_FILE), as Python's urllib has them. The work is done by what hosts have (infra/host/transfer.py).
"""

import hashlib
import http.client
import time
import urllib.error
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from infra.disk import writing
from infra.errors import HostError
from infra.host import transfer as host

TRIES = host.TRIES
Progress = Callable[[int, int], None]
Sleep = Callable[[float], None]
Say = Callable[[str], None]
Check = Callable[[Path], str]

_CHUNK = 1 << 20


class _Transfer(host.Transfer):
    """One file on its way to this machine, which tells `show` of its progress and `say` what it waits for."""

    def __init__(
        self, url: str, target: Path, tries: int, show: Progress, sleep: Sleep, unproven: bool, say: Say
    ) -> None:
        super().__init__(url, str(target), not unproven, tries)  # type: ignore[no-untyped-call]
        self._show, self._sleep, self.unproven, self._say = show, sleep, unproven, say

    def pause(self, seconds: float, why: str) -> None:
        host_name = urlsplit(self.url).hostname
        self._say(f"  {Path(self.path).name}: {host_name}: {why}; trying again in {seconds:g} s")
        self._sleep(seconds)

    def progress(self, at: int, whole: int) -> None:
        self._show(at, whole)


def private(url: str) -> bool:
    """Whether nobody on the way can change what comes from there: https, or this machine itself.

    A file that has no published sum may be believed, and pinned, only then.
    """
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def plain(url: str) -> str:
    """The address as it goes over the line: blanks and letters beyond ASCII become %20 and the like, as browsers do."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def size(url: str) -> int:
    """The file's size in bytes, without fetching it; 0 where the server does not say. HostError where it is out of
    reach."""
    opened: Any = host.opened
    try:
        with opened(plain(url), {}, "HEAD") as answer:
            return int(answer.headers.get("Content-Length") or 0)
    except urllib.error.HTTPError:  # some servers refuse HEAD: the fetch itself will tell
        return 0
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, getattr(error, "reason", None) or error) from error


def fetch(
    url: str, target: Path, progress: Progress = lambda done, total: None, *, tries: int = TRIES,
    sleep: Sleep = time.sleep, unproven: bool = False, say: Say = lambda text: None, check: Check = lambda path: "",
) -> bool:  # fmt: skip
    """Download the file to `target`; whether the server told where it ends. Where it did not, it may be a half.

    `progress` gets the bytes that are here and the bytes in all (0: not known), `say` what is waited for. `check` looks
    at what came, before it has its name, and says what is wrong with it. With `unproven` (no sum will tell what came)
    a server with https may not lead to one without.

    Only a try that brings nothing counts. HostError where the server has no such file, sends a page or what `check`
    refuses, or breaks off again and again: what came stays then, and the next call goes on with it. DiskError where
    there is no room.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(plain(url), target, tries, progress, sleep, unproven, say)
    wrong = [""]

    def fits() -> bool:
        wrong[0] = check(Path(transfer.part))
        return not wrong[0]

    try:
        whole = transfer.arrive(fits)  # type: ignore[no-untyped-call]
    except (host.Refused, ValueError) as error:  # ValueError: what is no address at all
        raise _explained(url, target, error) from error
    if not whole:
        transfer.forget()  # type: ignore[no-untyped-call]
        raise HostError(f"{url}: {wrong[0]}", "see at its source whether the file has changed")
    with writing(target):
        Path(transfer.part).replace(target)
        Path(transfer.mark).unlink(missing_ok=True)
    return transfer.told


def forget(target: Path) -> None:
    """Remove what has come of a file that is not whole."""
    for ending in (".part", ".part.of"):
        target.with_name(target.name + ending).unlink(missing_ok=True)


def digests(path: Path, kinds: Iterable[str], progress: Progress = lambda done, total: None) -> dict[str, str]:
    """The file's checksums (hex) by kind (sha256, md5); the file is read once."""
    total, done = path.stat().st_size, 0
    found = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as data:
        while chunk := data.read(_CHUNK):
            for digest in found.values():
                digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return {kind: digest.hexdigest() for kind, digest in found.items()}


def _explained(url: str, target: Path, error: Exception) -> HostError:
    """The refusal as our HostError. Raises DiskError or UsageError where this machine's disk refused."""
    if isinstance(error.__cause__, OSError):
        with writing(target):
            raise error.__cause__
    if not isinstance(error, host.Refused) or error.kind == "broken":
        return _unreachable(url, error)
    mend = "it may need a login"
    if error.code in (404, 410):
        mend = "it may have moved: look for it on its page"
    if error.kind == "page":
        mend = "it may have moved, or need a login: see in a browser what is there"
    elif error.kind == "packed":
        mend = "a browser or `curl --compressed` unpacks it on its way"
    elif not error.code:
        mend = "if this network has a CA of its own, set SSL_CERT_FILE to the bundle that holds it"
    return HostError(f"{url}: {error}", mend)


def _unreachable(url: str, reason: object) -> HostError:
    return HostError(f"{url} cannot be fetched: {reason}", "run the same command again: it goes on where it stopped")
