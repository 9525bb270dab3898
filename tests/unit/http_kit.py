"""A web without a network: answers by address, in place of what opens connections for downloads."""

import email.message
import io
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from infra.host import transfer


class Answer(io.BytesIO):
    """What a server sends: a body with its headers, at the address that the client was led to."""

    def __init__(self, body: bytes, url: str, headers: Mapping[str, str], code: int = 200) -> None:
        super().__init__(body)
        self.headers = email.message.Message()
        for name, value in headers.items():
            self.headers[name] = value
        self._url, self._code = url, code
        self.chunked = False

    def geturl(self) -> str:
        return self._url

    def getcode(self) -> int:
        return self._code


@dataclass
class Page:
    """What there is at an address. `code` other than 200 is an error; `length`: the server tells how long it is;
    `breaks` are the next answers that end early, at so many bytes; `leads`: the address it redirects to."""

    body: bytes = b""
    kind: str = "application/octet-stream"
    code: int = 200
    length: bool = True
    breaks: list[int] = field(default_factory=list)
    part: str = ""  # a Content-Range that every answer has
    leads: str = ""
    packed: str = ""  # its Content-Encoding


@dataclass
class Web:
    """Pages by address, and what was asked: method and address."""

    pages: dict[str, Page]
    asked: list[str] = field(default_factory=list)

    def open(self, url: str, headers: dict[str, str], method: str = "GET") -> Any:
        self.asked.append(f"{method} {url}")
        page = self.pages.get(url)
        if page is None or page.code != 200:
            code = page.code if page else 404
            raise urllib.error.HTTPError(url, code, "No", email.message.Message(), io.BytesIO())
        body = page.body[: page.breaks.pop(0)] if page.breaks and method == "GET" else page.body
        told = {"Content-Type": page.kind} | ({"Content-Length": str(len(page.body))} if page.length else {})
        if page.packed:
            told["Content-Encoding"] = page.packed
        if page.part:
            return Answer(body, url, {**told, "Content-Range": page.part}, 206)
        return Answer(body if method == "GET" else b"", page.leads or url, told)


def serve(monkeypatch: pytest.MonkeyPatch, **pages: Page | bytes) -> Web:
    """A web with https://host.invalid/NAME for each name, where _ stands for a dot."""
    found = {
        f"https://host.invalid/{name.replace('_', '.')}": page if isinstance(page, Page) else Page(page)
        for name, page in pages.items()
    }
    web = Web(found)
    monkeypatch.setattr(transfer, "opened", web.open)
    monkeypatch.setattr(transfer, "PAUSE_S", 0.0)
    return web
