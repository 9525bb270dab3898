"""One request over HTTP: no redirect is followed and nothing is tried again."""

import base64
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import exceptions

AGENT = "provision (image matrix --verify)"
_CHUNK = 1 << 16
_BUNDLE = "set SSL_CERT_FILE to a file (PEM) with this network's certificate authority, then try again"


@dataclass(frozen=True)
class Got:
    """An answer, or why none came. `hopeless`: another request to the same host would fail too."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    trouble: str = ""
    mend: str = ""
    hopeless: bool = False


class Wire:
    """Connections, kept open between requests: `at_once` for a host at most."""

    def __init__(self, at_once: int, connect_s: float, read_s: float) -> None:
        self._settings: dict[str, Any] = {
            "num_pools": 50, "maxsize": at_once, "timeout": urllib3.Timeout(connect=connect_s, read=read_s),
            "ssl_context": ssl.create_default_context(),
        }  # fmt: skip
        self._direct = urllib3.PoolManager(**self._settings)
        self._proxies = {scheme: self._proxy(url) for scheme, url in urllib.request.getproxies().items()
                         if scheme in ("http", "https") and url.startswith("http")}  # fmt: skip

    def send(
        self, method: str, url: str, headers: Mapping[str, str], most: int, until: float, clock: Callable[[], float]
    ) -> Got:
        """One request. The body is read up to `most` bytes and until the time `until` on that clock."""
        try:
            answer = self._manager(url).request(
                method, url, headers={"User-Agent": AGENT, **headers}, redirect=False, retries=False,
                preload_content=False,
            )  # fmt: skip
            found = {name.lower(): value for name, value in answer.headers.items()}
            try:
                body, trouble = _body(answer, most, until, clock) if most and answer.status < 400 else (b"", "")
            finally:
                if method != "HEAD":  # what is left of a body is not read
                    answer.close()
                answer.release_conn()
            return Got(answer.status if not trouble else 0, found, body, trouble)
        except (exceptions.HTTPError, OSError, ValueError) as error:
            return _failed(error)

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        if parts.scheme in self._proxies and not urllib.request.proxy_bypass(parts.hostname or ""):
            return self._proxies[parts.scheme]
        return self._direct

    def _proxy(self, url: str) -> urllib3.ProxyManager:
        parts = urlsplit(url)
        plain = url.replace(f"{parts.netloc.rpartition('@')[0]}@", "", 1) if "@" in parts.netloc else url
        login = (unquote(parts.username or ""), unquote(parts.password or ""))
        headers = {"Proxy-Authorization": basic(*login)} if parts.username else None
        return urllib3.ProxyManager(plain, proxy_headers=headers, **self._settings)


def basic(user: str, password: str) -> str:
    """The value of the Authorization header for a name and a password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _body(answer: Any, most: int, until: float, clock: Callable[[], float]) -> tuple[bytes, str]:
    parts, size = [], 0
    for chunk in answer.stream(_CHUNK, decode_content=True):
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            return b"", f"its answer is longer than {most >> 20} MB"
        if clock() > until:
            return b"", "its answer takes too long"
    return b"".join(parts), ""


def _failed(error: Exception) -> Got:
    """A failure in words. Unresolved names, refused connections and TLS concern the whole host: they are hopeless."""
    text = str(error)
    if isinstance(error, exceptions.SSLError | ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return Got(trouble=f"TLS: {_reason(text)}", mend=_BUNDLE, hopeless=True)
    if isinstance(error, exceptions.ProxyError):
        return Got(trouble="the proxy cannot be reached", mend="look at https_proxy and http_proxy", hopeless=True)
    if isinstance(error, exceptions.NewConnectionError):
        return Got(trouble="no such host" if "resolve" in text or "Name or" in text else "no connection", hopeless=True)
    if isinstance(error, exceptions.ConnectTimeoutError):
        return Got(trouble="no connection in time", hopeless=True)
    if isinstance(error, exceptions.ReadTimeoutError | TimeoutError):
        return Got(trouble="no answer in time")
    if isinstance(error, exceptions.LocationParseError | exceptions.LocationValueError):
        return Got(trouble="not a web address")
    return Got(trouble="the connection broke off")


def _reason(text: str) -> str:
    """The part of OpenSSL's words that says something: between the code and Python's own line number."""
    return text.rpartition("] ")[2].partition(" (_ssl.c")[0] or text
