"""Polite questions over HTTP: what does this address answer? Nothing is fetched beyond that.

Every answer is a `Reply`, also where none came: then it says why. Hosts are treated gently. Each has a few
connections at once and a pause between two requests; its Retry-After is kept for all that is asked there; one that
cannot be reached is not asked again; and no address is asked twice. Redirects are followed a few times and never from
https to http. Credentials go to their own origin alone, and only when it asks for them; no Reply holds one. Proxies and
CA bundles are those of the environment (https_proxy, SSL_CERT_FILE); ~/.netrc is not read.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from infra.asking_host import Host, retry_after
from infra.asking_wire import Wire, basic

T = TypeVar("T")
Credentials = Mapping[str, tuple[str, str]]

_BUSY = (429, 502, 503, 504)
_MOVED = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5


@dataclass(frozen=True)
class Manners:
    """How hosts are treated. Times in seconds, `most_bytes` of a body.

    A host that asks for a longer wait than `longest_wait_s` is not asked again.
    """

    at_once: int = 4
    pause_s: float = 0.1
    tries: int = 3
    longest_wait_s: float = 60.0
    connect_s: float = 10.0
    read_s: float = 20.0
    body_s: float = 300.0
    most_bytes: int = 64 << 20


@dataclass(frozen=True)
class Reply:
    """An answer, or why none came. `url` is the address that answered, after redirects; `headers` are in lower case.

    `status` 0: nobody answered, and `trouble` says why. With a status of 3xx, `trouble` says why it was not followed.
    """

    asked: str
    url: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    trouble: str = ""
    mend: str = ""

    @property
    def size(self) -> int | None:
        """Bytes of the whole file, where the server says; also from the answer to a question for its first byte."""
        whole = self.headers.get("content-length", "")
        text = self.headers.get("content-range", "").rpartition("/")[2] if self.status == 206 else whole
        return int(text) if text.isdigit() else None


class Asker:
    """Asks each address once. Many threads may share an Asker; a test gives both `sleep` and `clock`, or neither.

    Its methods raise nothing for the network's failures: the Reply has status 0 and says the trouble.
    """

    def __init__(
        self, manners: Manners | None = None, credentials: Credentials | None = None, *,
        sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.manners = manners or Manners()
        self._credentials = dict(credentials or {})
        self._wire = Wire(self.manners.at_once, self.manners.connect_s, self.manners.read_s)
        self._sleep, self._clock = sleep, clock
        self._hosts: dict[str, Host] = {}
        self._known: dict[object, Future[object]] = {}
        self._lock = threading.Lock()

    def head(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self._asked("HEAD", url, headers or {}, 0)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer with its body, if the body has at most `most_bytes` (Manners)."""
        return self._asked("GET", url, headers or {}, self.manners.most_bytes)

    def get_again(self, url: str) -> Reply:
        """A GET whose answer is not remembered: for answers that expire, such as tokens."""
        return self._followed("GET", url, {}, self.manners.most_bytes)

    def first_byte(self, url: str) -> Reply:
        """A GET that asks for one byte. Some servers answer HEAD without looking for the file; this makes them look."""
        return self._asked("GET", url, {"Range": "bytes=0-0"}, 0)

    def once(self, key: object, work: Callable[[], T]) -> T:
        """The result of `work`. The first thread with this key does the work; the others wait for its result."""
        with self._lock:
            found = self._known.get(key)
            mine: Future[object] | None = None if found else Future()
            if mine is not None:
                self._known[key] = mine
        if mine is not None:
            try:
                mine.set_result(work())
            except BaseException as error:
                mine.set_exception(error)
        done: T = (found or mine).result()  # type: ignore[union-attr,assignment]
        return done

    def _asked(self, method: str, url: str, headers: Mapping[str, str], most: int) -> Reply:
        key = (method, url, tuple(sorted(headers.items())))
        return self.once(key, lambda: self._followed(method, url, dict(headers), most))

    def _followed(self, method: str, url: str, headers: dict[str, str], most: int) -> Reply:
        at = url
        if not _joined(url, ""):
            return Reply(url, url, trouble="not a web address")
        for _ in range(_MOST_REDIRECTS + 1):
            reply = replace(self._with_login(method, at, headers, most), asked=url)
            target = reply.headers.get("location", "")
            if reply.status not in _MOVED or not target:
                return reply
            new = _joined(at, target)
            if refused := _not_followed(at, new):
                return replace(reply, trouble=refused)
            if origin(new) != origin(at):
                headers.pop("Authorization", None)
            at = new
        return replace(reply, trouble=f"more than {_MOST_REDIRECTS} redirects, the last to {at}")

    def _with_login(self, method: str, url: str, headers: Mapping[str, str], most: int) -> Reply:
        """The answer; where the origin asks for a login and we have one for it, the request is sent again with it."""
        reply = self._patient(method, url, headers, most)
        known = self._credentials.get(origin(url))
        wanted = reply.headers.get("www-authenticate", "").lower().startswith("basic")
        if reply.status != 401 or not known or not wanted or "Authorization" in headers:
            return reply
        return self._patient(method, url, {**headers, "Authorization": basic(*known)}, most)

    def _patient(self, method: str, url: str, headers: Mapping[str, str], most: int) -> Reply:
        """The answer; where the host is busy or the connection broke, up to `tries` requests are sent."""
        host = self._host(url)
        for number in range(1, self.manners.tries + 1):
            reply = self._single(host, method, url, headers, most)
            if (reply.status and reply.status not in _BUSY) or host.left:
                return reply
            wait = retry_after(reply.headers.get("retry-after", ""))
            if wait is not None and wait > self.manners.longest_wait_s:
                host.leave(f"it asks to wait for {wait:.0f} s", "try again later")
                return reply
            if number < self.manners.tries:
                host.hold(wait if wait is not None else 2.0 ** (number - 1))
        return reply

    def _single(self, host: Host, method: str, url: str, headers: Mapping[str, str], most: int) -> Reply:
        with host.turn():
            if host.left:
                return Reply(url, url, trouble=host.left, mend=host.mend)
            got = self._wire.send(method, url, headers, most, self._clock() + self.manners.body_s, self._clock)
            host.saw(got.trouble, got.mend, hopeless=got.hopeless)
            return Reply(url, url, got.status, got.headers, got.body, got.trouble, got.mend)

    def _host(self, url: str) -> Host:
        name = origin(url)
        with self._lock:
            if name not in self._hosts:
                manners = self.manners
                self._hosts[name] = Host(manners.at_once, manners.pause_s, self._sleep, self._clock)
            return self._hosts[name]


def origin(url: str) -> str:
    """Scheme, host and port: what a credential belongs to."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def without_login(url: str) -> str:
    """The address without a name and a password in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def logins(urls: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name and password by origin, of the addresses that hold them."""
    found = {}
    for url in urls:
        parts = urlsplit(url)
        if parts.username:
            found[origin(url)] = (unquote(parts.username), unquote(parts.password or ""))
    return found


def elsewhere(reply: Reply) -> bool:
    """Whether a redirect led to another host or path. From http to https alone does not count."""
    asked, came = urlsplit(reply.asked), urlsplit(reply.url)
    return (asked.hostname, asked.path) != (came.hostname, came.path)


def _joined(at: str, target: str) -> str:
    """The full address of a redirect's target, without a login; empty where it is not a web address."""
    with suppress(ValueError):
        url = urljoin(at, target)
        if urlsplit(url).scheme in ("http", "https") and origin(url):
            return without_login(url)
    return ""


def _not_followed(old: str, new: str) -> str:
    """Why a redirect is not followed; empty where it is followed."""
    if not new:
        return "it redirects to something that is not a web address"
    if urlsplit(old).scheme == "https" and urlsplit(new).scheme == "http":
        return f"it redirects from https to {new}, which is not encrypted"
    return ""
