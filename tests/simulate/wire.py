"""AWS's answers without a socket: botocore, urllib and http.client reach the emulator's WSGI application here.

Every laptop's call is a moment in which the baton passes, and in which a fault may meet it (`clients.Client.meets`).
"""

import http.client
import io
import re
import socket
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
from botocore.httpsession import URLLib3Session

from localcloud import operations
from tests.simulate.baton import BATON

ENDPOINT = "http://127.0.0.1"
METADATA = "169.254.169.254"
Answer = tuple[int, list[tuple[str, str]], bytes]
App = Callable[[dict[str, Any], dict[str, Any], Callable[..., Any]], Any]


class Wire:
    """`app` is the emulator. `metadata`: what an instance's own address answers, by the group that asks."""

    def __init__(self) -> None:
        self.app: App = lambda *_: []
        self.metadata: Callable[[str, str], tuple[int, bytes]] = lambda *_: (404, b"")

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The emulator's answer."""
        environ = environ_of(method, url, headers, body)
        return self.answer(described(environ, body), environ)

    def answer(self, call: dict[str, Any], environ: dict[str, Any]) -> Answer:
        begun: list[Any] = []
        BATON.inside = BATON.world  # what AWS begins outlives the caller
        try:
            said = b"".join(self.app(call, environ, lambda *words: begun.append(words)))
        finally:
            BATON.inside = None
        status, headers = int(begun[0][0].split()[0]), list(begun[0][1])
        return status, headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else said


def environ_of(method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The request as WSGI has it."""
    parts = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": unquote(parts.path, "latin-1"), "QUERY_STRING": parts.query,
        "RAW_URI": parts.path + (f"?{parts.query}" if parts.query else ""), "SCRIPT_NAME": "",
        "SERVER_NAME": parts.hostname, "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.9",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
        "HTTP_HOST": parts.netloc, "CONTENT_LENGTH": str(len(body)),
    }  # fmt: skip
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = _text(value)
        elif key not in ("CONTENT_LENGTH", "HOST"):
            environ[f"HTTP_{key}"] = _text(value)
    return environ


WIRE = Wire()


class _Raw(io.BytesIO):
    """As urllib3's answer."""

    def stream(self, amount: int = 1 << 16, **_: object) -> Any:
        while data := self.read(amount):
            yield data


def install() -> None:
    """From now on this process has no network but the simulated one."""

    def send(_: Any, request: Any) -> AWSResponse:
        status, headers, said = _laptop(request)
        return AWSResponse(request.url, status, dict(headers), _Raw(said))

    URLLib3Session.send = send  # type: ignore[method-assign]
    http.client.HTTPConnection.connect = _connect  # type: ignore[method-assign]
    http.client.HTTPSConnection.connect = _connect  # type: ignore[method-assign]
    socket.create_connection = _refused


def _refused(*_: object, **__: object) -> Any:
    raise OSError("the simulation has no sockets")


def _laptop(request: Any) -> Answer:
    """A laptop's call: late, perhaps with a fault."""
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else body.read()
    environ = environ_of(request.method, request.url, request.headers, body)
    call = described(environ, body)
    client = BATON.current.group.data.get("client")
    if client is None:
        return WIRE.answer(call, environ)
    return client.call(call["service"], call["action"], lambda: WIRE.answer(call, environ), request.url)  # type: ignore[no-any-return]


@cache
def _operation(service: str, method: str, path: str, query: frozenset[str], headers: frozenset[str]) -> str:
    """What is asked for by a request of this form; `operations.named` tries all of a service's."""
    environ = {f"HTTP_{name.upper().replace('-', '_')}": "" for name in headers}
    form = "&".join(f"{name}=" for name in sorted(query))
    return operations.named(service, {**environ, "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": form})


def described(environ: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """A call as `localcloud` logs it, as far as a simulation needs that."""
    scope = re.search(r"Credential=([^/]+)/[^/]*/[^/]*/([^/]*)/", environ.get("HTTP_AUTHORIZATION", ""))
    who, service = scope.groups() if scope else ("", "unknown")
    path = environ["PATH_INFO"]
    if found := re.match(rb"(?:.*&)?Action=(\w+)", body):
        action = found[1].decode()
    elif target := environ.get("HTTP_X_AMZ_TARGET"):
        action = target.split(".")[-1]
    else:
        parts = path.strip("/").split("/")
        form = "/" + "/".join(("b", "k")[: len(parts)] if service == "s3" and path != "/" else parts)
        names = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        headers = frozenset(name[5:].replace("_", "-").lower() for name in environ if name.startswith("HTTP_X_AMZ"))
        action = _operation(service, environ["REQUEST_METHOD"], form, frozenset(names), headers)
    return {"service": service, "action": action, "access_key": who, "params": {}}


def refusal(service: str, code: str, status: int) -> Answer:
    """An error in the service's words."""
    headers, said = operations.error(service, code, "asked for by the simulation")
    return status, headers, said


def cut(url: str) -> Exception:
    """The connection broke before the answer came."""
    return ConnectionClosedError(endpoint_url=url)


def no_line(url: str) -> Exception:
    return EndpointConnectionError(endpoint_url=url)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# what the guard asks, by urllib or http.client


def _connect(connection: Any) -> None:
    connection.sock = _Socket(connection.host)


class _Socket:
    """The far end of one connection of http.client."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.sent = bytearray()

    def sendall(self, data: Any) -> None:
        self.sent += bytes(data)

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        head, _, body = bytes(self.sent).partition(b"\r\n\r\n")
        self.sent = bytearray()
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = dict(line.split(": ", 1) for line in lines)
        BATON.check()
        if self.host == METADATA:
            status, said = WIRE.metadata(method, path)
            answer: Answer = (status, [], said)
        elif path.startswith("/_local/checkip"):
            answer = (200, [], b"127.0.0.9")
        else:
            BATON.sleep(0.02 + 0.1 * BATON.random.random())
            broken = BATON.current.group.data.get("broken")
            if broken and broken():
                raise ConnectionResetError("the simulation broke the line")
            answer = WIRE.ask(method, f"http://{self.host}{path}", headers, body)
            BATON.sleep(0.01)
        return io.BytesIO(_written(answer, method))

    def settimeout(self, *_: object) -> None: ...

    def setsockopt(self, *_: object) -> None: ...

    def shutdown(self, *_: object) -> None: ...

    def close(self) -> None: ...


def _written(answer: Answer, method: str) -> bytes:
    status, headers, said = answer
    kept = [(name, value) for name, value in headers if name.lower() not in ("content-length", "transfer-encoding")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in kept)
    return f"HTTP/1.1 {status} -\r\n{lines}Content-Length: {len(said)}\r\nConnection: close\r\n\r\n".encode() + said
