"""Public data sets into a folder: fetched with resume, checked, unpacked. The table is sets.yaml.

A file whose sum nobody publishes is pinned when it is first fetched, by https alone: its sha256 is shown and noted in
the user's downloads.json, and another one under that address is refused from then on. What a folder has, with sums, is
in its .provision-get.json: a second run brings what is missing and no more.
"""

import json
from datetime import datetime, timezone
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from infra import download
from infra.border import did_you_mean, load_yaml
from infra.disk import writing
from infra.errors import HostError, UsageError
from provision import console, settings
from provision.console import Say
from provision.data.unpack import unpack
from provision.files.bar import Bar
from provision.files.folders import check_room

_TABLE = Path(__file__).with_name("sets.yaml")
_HAVE = ".provision-get.json"
_LONGEST = 200  # bytes of a file's name, with room for the endings of its parts
_SUMS = {"sha256": 64, "md5": 32}


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of a set: size in bytes (0: not published), sums in hex where they are published (`sources` says by whom);
    with `unpack` it is an archive, and goes when its content is there."""

    url: str
    size: int = 0
    sha256: str = ""
    md5: str = ""
    unpack: bool = False
    sources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        name = PurePosixPath(unquote(PurePosixPath(urlsplit(self.url).path).name)).name  # %2F would lead out
        odd = name in ("", "..", _HAVE) or not name.isprintable() or len(name.encode("utf-8", "replace")) > _LONGEST
        return "download" if odd else name

    @property
    def sums(self) -> dict[str, str]:
        """The sums that are published."""
        return {kind: text.lower() for kind in _SUMS if (text := getattr(self, kind))}


class Set(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A data set, its licence in words and where that is written."""

    about: str
    licence: str = ""
    licence_url: str = ""
    files: tuple[File, ...]


class SetTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sets by name, and what the names of sources mean."""

    sources: dict[str, str]
    sets: dict[str, Set]


class Have(msgspec.Struct, frozen=True):
    """A file that a folder has: its sum and size; the topmost names that came out of it where it was unpacked."""

    sha256: str
    size: int
    fetched: str
    unpacked: list[str] | None = None


@cache
def table() -> SetTable:
    return load_yaml(_TABLE, SetTable)


def _is_url(what: str) -> bool:
    try:
        return urlsplit(what).scheme in ("http", "https")
    except ValueError as error:
        raise UsageError(f"{what!r} is no address: {error}", "write https://HOST/FILE") from error


def find(what: str, sha256: str = "", md5: str = "", unpacked: bool = False) -> tuple[str, Set]:
    """The set of that name; for a URL, a set of that one file, with the user's sums.

    UsageError for an unknown name, and for a sum that is none.
    """
    for kind, text in (("sha256", sha256), ("md5", md5)):
        if text and (len(text) != _SUMS[kind] or not set(text.lower()) <= set("0123456789abcdef")):
            raise UsageError(f"{text!r} is no {kind}", f"give {_SUMS[kind]} digits of 0-9 and a-f")
    if _is_url(what):
        file = File(url=what, sha256=sha256, md5=md5, unpack=unpacked)
        return PurePosixPath(file.name).stem, Set(about=what, files=(file,))
    if what not in table().sets:
        raise UsageError(f"there is no data set {what!r}", did_you_mean(what, table().sets))
    return what, table().sets[what]


def missing(chosen: Set, target: Path) -> list[File]:
    """The files that the folder does not have."""
    have = _read(target)
    return [file for file in chosen.files if not _is_there(have.get(file.url), file, target)]


def get(chosen: Set, target: Path, keep: bool = False, say: Say = console.line) -> dict[str, Have]:
    """Bring what is missing to `target`; all that it has then, by URL. With `keep` archives stay.

    The room on the disk is looked at first. HostError where a file cannot be had or is not the file that was published
    or pinned; UsageError where nothing could tell whether it is; DiskError, UsageError: see `unpack`.
    """
    todo = missing(chosen, target)
    _refuse_unproven(todo)
    check_room(target, sum(_room(file, target) for file in todo))
    for file in todo:
        found = _checked(file, _fetched(file, target), say)
        if file.unpack:
            found = _unpacked(file, target, found, keep)
        _note(target, file.url, found)
    have = _read(target)
    return {file.url: have[file.url] for file in chosen.files}


def _refuse_unproven(files: list[File]) -> None:
    """UsageError for a file by http:// that has no sum, published or pinned: anyone on the way may change it."""
    pins = _json(pins_path(), dict[str, Have])
    for file in files:
        if not file.sums and file.url not in pins and not download.private(file.url):
            raise UsageError(
                f"{file.url} comes by http://, where anyone on the way can change it, and nobody publishes its sum",
                "take an address with https://, or give the sum that its owner tells: --sha256 SUM",
            )


def _room(file: File, target: Path) -> int:
    """Bytes that a file will need: what is not here of it yet, and as much again for what comes out of it."""
    size = file.size or download.size(file.url)
    part = target / f"{file.name}.part"
    here = part.stat().st_size if part.exists() else 0
    return max(0, size - here) + (size if file.unpack else 0)


def _fetched(file: File, target: Path) -> Path:
    path = target / file.name
    if path.is_file():  # whole, but killed before it was checked, or kept
        return path
    with Bar(file.name, file.size) as bar:
        return download.fetch(
            file.url, path, lambda done, total: bar.at(done, total or file.size), unproven=not file.sums
        )


def _checked(file: File, path: Path, say: Say) -> Have:
    """The file's sums against those that are published, or else against the pin. A wrong file is removed."""
    with Bar(f"checking {file.name}", path.stat().st_size) as bar:
        sums = download.digests(path, {"sha256", *file.sums}, bar.at)
    for kind, text in file.sums.items():
        if sums[kind] != text:
            path.unlink()
            raise HostError(
                f"{file.name} is not what was published: its {kind} is {sums[kind]}, not {text}",
                "the file was removed: try again later, or check at its source whether it has changed",
            )
    found = Have(sums["sha256"], path.stat().st_size, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    if file.sums:
        say(f"  {file.name}: {' and '.join(file.sums)} as published")
    else:
        _pinned(file, path, found, say)
    return found


def _unpacked(file: File, target: Path, found: Have, keep: bool) -> Have:
    path = target / file.name
    with Bar(f"unpacking {file.name}") as bar:
        names = unpack(path, target, bar.at)
    if not keep:
        path.unlink()
    return msgspec.structs.replace(found, unpacked=names)


# what is noted


def pins_path() -> Path:
    """Where this user's pins are."""
    return settings.home() / "downloads.json"


def _pinned(file: File, path: Path, found: Have, say: Say) -> None:
    """Pin the sum at the first fetch; compare the file with the pin later. HostError where they differ."""
    pins = _json(pins_path(), dict[str, Have])
    before = pins.get(file.url)
    if before is None:
        _write_json(pins_path(), {**pins, file.url: found})
        say(f"  {file.name}: nobody publishes its sum; pinned at first use: sha256 {found.sha256}")
    elif before.sha256 != found.sha256:
        path.unlink()
        raise HostError(
            f"{file.name} is not the file that came on {before.fetched[:10]}: its sha256 is {found.sha256}, not "
            f"{before.sha256}",
            f"the file was removed; if the new one is right, take its old sum out of {pins_path()}",
        )
    else:
        say(f"  {file.name}: sha256 as pinned on {before.fetched[:10]}")


def _is_there(found: Have | None, file: File, target: Path) -> bool:
    if found is None or any(kind == "sha256" and found.sha256 != text for kind, text in file.sums.items()):
        return False
    if file.unpack:
        return found.unpacked is not None and all((target / name).exists() for name in found.unpacked)
    path = target / file.name
    return path.is_file() and path.stat().st_size == found.size


def _read(target: Path) -> dict[str, Have]:
    found: dict[str, Have] = _json(target / _HAVE, dict[str, Have])
    return found


def _note(target: Path, url: str, found: Have) -> None:
    _write_json(target / _HAVE, {**_read(target), url: found})


def _json(path: Path, kind: Any) -> Any:
    """The file's content; an empty dictionary where there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "remove it: it only notes what was fetched") from error


def _write_json(path: Path, value: dict[str, Have]) -> None:
    part = path.with_name(f"{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(msgspec.to_builtins(value), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(path)
