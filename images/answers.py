"""Read the answers of servers: an apt repository's lists, pip's index, a status. Pure; ValueError where unreadable.

The states of a thing that was asked for. `ok`: it is there. `changed`: it is there, but not as it was (a redirect to
another place, a version that was yanked). `moved`: the mirror no longer has it, but an archive or a snapshot where the
build looks next does. `not asked`: no address is known for it, or the user interrupted. `unclear`: the answer does not
tell. `unreachable`: no answer, or the server is in trouble. `gone`: the server says that it has no such thing.
"""

import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from html.parser import HTMLParser
from typing import Any, Literal, get_args
from urllib.parse import unquote, urljoin, urlsplit

from infra.asking import Reply, elsewhere, without_login

State = Literal["ok", "changed", "moved", "not asked", "unclear", "unreachable", "gone"]
STATES: tuple[State, ...] = get_args(State)  # the worst last

_MOST_UNPACKED = 512 << 20  # bytes; the longest list of a distribution has about 80 MB


@dataclass(frozen=True)
class Finding:
    """The answer to one question. `url` is where it was asked, `status` the HTTP status (0: no answer)."""

    state: State
    url: str
    status: int = 0
    said: str = ""
    mend: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Deb:
    """A package as an index lists it. `file` is its path below the repository's root, `size` in bytes."""

    version: str
    file: str
    size: int


@dataclass(frozen=True)
class Dist:
    """A file of pip's index. `yanked` is the reason (or "yes"); empty: it is not."""

    name: str
    url: str
    sha256: str
    size: int | None
    yanked: str


def judge(reply: Reply) -> Finding:
    """What a reply means, by its HTTP status alone."""
    state, said = _by_status(reply)
    return Finding(state, _shown(reply.url), reply.status, said, reply.mend)


def _shown(url: str) -> str:
    """The address without its query, which may hold a key where a server has signed the address."""
    return url.partition("?")[0]


def _by_status(reply: Reply) -> tuple[State, str]:
    if reply.status == 0:
        return "unreachable", reply.trouble
    if reply.status in (404, 410):
        return "gone", f"{reply.status}"
    if reply.status == 429 or reply.status >= 500:
        return "unreachable", f"{reply.status}: the server is busy or broken"
    if reply.status in (200, 206):
        return ("changed", f"it is at {_shown(reply.url)} now") if elsewhere(reply) else ("ok", "")
    return "unclear", f"{reply.status}" + (f": {reply.trouble}" if reply.trouble else "")


def worst(findings: Iterable[Finding]) -> Finding:
    """The first finding of those with the worst state. ValueError where there are none."""
    return max(findings, key=lambda finding: STATES.index(finding.state))


def unpacked(data: bytes, most: int = _MOST_UNPACKED) -> bytes:
    """A list of packages, whatever it is compressed with. ValueError where it is broken, or longer than `most`."""
    if data.startswith(b"\xfd7zXZ"):
        begin: Callable[[], Any] = lzma.LZMADecompressor
    elif data.startswith(b"\x1f\x8b"):
        begin = partial(zlib.decompressobj, 31)
    else:
        return data
    parts, left = [], most
    while data:
        stream = begin()
        try:
            parts.append(stream.decompress(data, left))
        except (lzma.LZMAError, zlib.error) as error:
            raise ValueError("it cannot be unpacked") from error
        left -= len(parts[-1])
        if not stream.eof:
            raise ValueError("it is not whole" if left else f"it holds more than {most >> 20} MB")
        data = stream.unused_data
    return b"".join(parts)


def debs(data: bytes) -> dict[str, list[Deb]]:
    """Packages by name, out of the text of a `Packages` file. ValueError where it is something else."""
    text = unpacked(data).decode("utf-8", "replace")
    found: dict[str, list[Deb]] = {}
    for part in text.split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Version|Filename|Size): *(\S+)", part))
        if len(fields) == 4 and fields["Size"].isdigit():
            deb = Deb(fields["Version"], fields["Filename"].removeprefix("./"), int(fields["Size"]))
            found.setdefault(fields["Package"], []).append(deb)
    if text.strip() and not found:
        raise ValueError("it is no list of packages")
    return found


def sample(index: dict[str, list[Deb]], count: int) -> list[Deb]:
    """`count` files of the index at most, spread evenly; the same index always gives the same ones."""
    every = sorted(
        {deb.file: deb for versions in index.values() for deb in versions}.values(), key=lambda deb: deb.file
    )
    step = max(1, len(every) // count)
    return every[step // 2 :: step][:count]


def expired(release: bytes, now: datetime) -> str:
    """The day until which an expired Release file was valid; apt refuses such a file. Empty: it has not expired."""
    found = re.search(rb"(?m)^Valid-Until: *(.+?)\s*$", release)
    if not found:
        return ""
    try:
        until = parsedate_to_datetime(found[1].decode("ascii", "replace"))
    except (TypeError, ValueError):
        return ""
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return until.strftime("%Y-%m-%d") if until < now else ""


def dists(reply: Reply) -> list[Dist]:
    """The files of a project's page, as JSON (PEP 691) or HTML (PEP 503). ValueError where it is neither."""
    if "json" not in reply.headers.get("content-type", ""):
        page = _Page()
        page.feed(reply.body.decode("utf-8", "replace"))
        return [_from_link(reply.url, *link) for link in page.links]
    try:
        return [_from_json(reply.url, raw) for raw in json.loads(reply.body)["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is no page of an index of Python packages") from error


def of_version(files: Iterable[Dist], package: str, version: str) -> list[Dist]:
    """The files of one version of the package: wheels first, then sources."""
    start = re.compile(rf"{_loose(package)}-{re.escape(version)}(-[^/]*\.whl|\.tar\.(gz|bz2|xz)|\.zip|\.tgz)", re.I)
    found = [dist for dist in files if start.fullmatch(dist.name)]
    return sorted(found, key=lambda dist: not dist.name.endswith(".whl"))


def _loose(package: str) -> str:
    """A pattern for a package's name in which -, _ and . are equal (PEP 503)."""
    return "[-_.]+".join(re.escape(part) for part in re.split(r"[-_.]+", package))


def _from_json(page: str, raw: dict[str, object]) -> Dist:
    hashes, yanked, size = raw.get("hashes"), raw.get("yanked"), raw.get("size")
    sha256 = str(hashes.get("sha256", "")) if isinstance(hashes, dict) else ""
    url = without_login(urljoin(page, str(raw["url"])))
    return Dist(str(raw["filename"]), url, sha256, size if isinstance(size, int) else None, _why(yanked))


def _from_link(page: str, href: str, yanked: str | None) -> Dist:
    url = without_login(urljoin(page, href))
    plain, _, fragment = url.partition("#")
    sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
    name = unquote(urlsplit(plain).path.rpartition("/")[2])
    return Dist(name, plain, sha256, None, "" if yanked is None else yanked or "yes")


def _why(yanked: object) -> str:
    return "" if not yanked else "yes" if yanked is True else str(yanked)


class _Page(HTMLParser):
    """The links of a page: address, and data-yanked where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            yanked = (given["data-yanked"] or "") if "data-yanked" in given else None
            self.links.append((str(given["href"]), yanked))
