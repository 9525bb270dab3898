"""A web of our own that answers as it is told: it lies, breaks off, hangs, is busy, redirects, wants a token."""

import gzip
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any


@dataclass(frozen=True)
class Says:
    """One answer. `head_status`: what HEAD is told, where that is another. `size`: what Content-Length says to HEAD."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    head_status: int = 0
    size: int | None = None
    breaks: bool = False
    hangs: bool = False


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]


class Web:
    """What is at each path: an answer, or a list of which the last stays, or a function of the request."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[Asked] = []
        self.port = self.tokens = 0
        self.tokens_out = 0  # so many of the tokens have run out
        self.scheme = "http"
        self.at_once = self.most_at_once = 0
        self.lock, self.closing, self.slow_s = threading.Lock(), threading.Event(), 0.0
        self.meet, self.met = 1, threading.Event()  # so many at once before the first is answered

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "") -> str:
        return f"{self.scheme}://{self.host}{path}"

    def count(self, path: str, method: str = "") -> int:
        return sum(one.path == path and method in ("", one.method) for one in self.asked)

    def answer(self, asked: Asked) -> Says:
        with self.lock:
            self.asked.append(asked)
            page = self.pages.get(asked.path, Says(404))
            if isinstance(page, list):
                page = page.pop(0) if len(page) > 1 else page[0]
        return page(asked) if callable(page) else page


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.reply()

    def do_GET(self) -> None:
        self.reply()

    def reply(self) -> None:
        web = self.web
        with web.lock:
            web.at_once += 1
            web.most_at_once = max(web.most_at_once, web.at_once)
            if web.at_once >= web.meet:
                web.met.set()
        try:
            says = web.answer(
                Asked(self.command, self.path, {key.lower(): value for key, value in self.headers.items()})
            )
            web.met.wait(60)
            time.sleep(web.slow_s)
            if says.hangs:
                web.closing.wait()
        finally:
            with web.lock:  # before the answer: who has it may ask the next thing at once
                web.at_once -= 1
        if says.breaks or says.hangs:
            self.close_connection = True
        else:
            self.send(says)

    def send(self, says: Says) -> None:
        head = self.command == "HEAD"
        self.send_response(says.head_status if head and says.head_status else says.status)
        for name, value in says.headers.items():
            self.send_header(name, value)
        size = says.size if head and says.size is not None else len(says.body)
        if not (head and says.head_status):
            self.send_header("Content-Length", str(size))
        else:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if not head:
            self.wfile.write(says.body)


@contextmanager
def web_server(wrap: Callable[[Any], Any] = lambda sock: sock, scheme: str = "http") -> Iterator[Web]:
    web = Web()
    handler = type("Handler", (_Handler,), {"web": web})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asks may go before the answer's end
    server.socket = wrap(server.socket)
    web.port, web.scheme = server.server_port, scheme
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield web
    finally:
        web.closing.set()
        server.shutdown()
        server.server_close()


def add_suite(
    web: Web, root: str, suite: str, files: dict[str, bytes], components: tuple[str, ...] = ("main",)
) -> None:
    """A suite of Debian's whose index lists the files (by path below the root) as packages; they are there."""
    now = datetime.now(timezone.utc).strftime("%a, %d %b %Y %H:%M:%S UTC")
    web.pages[f"{root}/dists/{suite}/InRelease"] = Says(body=f"Suite: {suite}\nDate: {now}\nSHA256:\n".encode())
    for part in components:
        index = "".join(stanza(name, data) for name, data in files.items() if part == components[0])
        web.pages[f"{root}/dists/{suite}/{part}/binary-amd64/Packages.gz"] = Says(body=gzip.compress(index.encode()))
    web.pages |= {f"{root}/{name}": Says(body=data) for name, data in files.items()}


def stanza(path: str, data: bytes) -> str:
    """An index's words for a file NAME_VERSION_amd64.deb."""
    name, version = path.rpartition("/")[2].removesuffix("_amd64.deb").split("_")
    return f"Package: {name}\nVersion: {version}\nFilename: {path}\nSize: {len(data)}\n\n"


def add_registry(web: Web, images: dict[str, tuple[str, ...]]) -> None:
    """A registry that gives each repository's token to who asks, and manifests to who has it."""

    def token(asked: Asked) -> Says:
        scope = asked.path.partition("scope=")[2]
        web.tokens += 1
        return Says(body=json.dumps({"token": f"{web.tokens} for {scope}"}).encode())

    def manifest(repository: str, tag: str) -> Callable[[Asked], Says]:
        scope = f"repository:{repository}:pull"
        challenge = f'Bearer realm="{web.url("/token")}",service="test",scope="{scope}"'
        quoted = scope.replace(":", "%3A").replace("/", "%2F")
        web.pages[f"/token?service=test&scope={quoted}"] = token
        digest = "sha256:" + hashlib.sha256(tag.encode()).hexdigest()

        def answer(asked: Asked) -> Says:
            number, _, rest = asked.headers.get("authorization", "Bearer 0").partition(" for ")
            if rest != quoted or int(number.split()[1]) <= web.tokens_out:
                return Says(401, headers={"WWW-Authenticate": challenge})
            if tag not in images[repository]:
                return Says(404)
            return Says(headers={"Docker-Content-Digest": digest})

        return answer

    for repository, tags in images.items():
        for tag in (*tags, "missing"):
            web.pages[f"/v2/{repository}/manifests/{tag}"] = manifest(repository, tag)
