"""Public data sets into a folder: fetched with resume, checked, unpacked. The table is sets.yaml.

A file whose sum nobody publishes is pinned when it is first fetched: its sha256 is shown and noted in the user's
downloads.json, and another one under that address is refused from then on. What a folder has, with sums, is in its
.provision-get.json: a second run brings what is missing and no more.
"""

import json
from collections.abc import Callable
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
from provision.data.bar import Bar
from provision.data.unpack import check_room, unpack

Say = Callable[[str], None]

_TABLE = Path(__file__).with_name("sets.yaml")
_HAVE = ".provision-get.json"
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
        return unquote(PurePosixPath(urlsplit(self.url).path).name) or "download"

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


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
def table() -> Table:
    return load_yaml(_TABLE, Table)


def find(what: str, sha256: str = "", md5: str = "", unpacked: bool = False) -> tuple[str, Set]:
    """The set of that name; or of a URL a set of that file alone, with the sums and the wish that the user gave."""
    for kind, text in (("sha256", sha256), ("md5", md5)):
        if text and (len(text) != _SUMS[kind] or not set(text.lower()) <= set("0123456789abcdef")):
            raise UsageError(f"{text!r} is no {kind}", f"it has {_SUMS[kind]} digits of 0-9 and a-f")
    if urlsplit(what).scheme in ("http", "https"):
        one = File(url=what, sha256=sha256, md5=md5, unpack=unpacked)
        return PurePosixPath(one.name).stem, Set(about=what, files=(one,))
    if what not in table().sets:
        raise UsageError(f"there is no data set {what!r}", did_you_mean(what, table().sets))
    return what, table().sets[what]


def missing(chosen: Set, target: Path) -> list[File]:
    """The files that the folder does not have."""
    have = _read(target)
    return [one for one in chosen.files if not _is_there(have.get(one.url), one, target)]


def get(chosen: Set, target: Path, keep: bool = False, say: Say = console.line) -> dict[str, Have]:
    """Bring what is missing to `target`; all that it has then, by URL. With `keep` archives stay.

    The room on the disk is looked at first. HostError where a file cannot be had or is not the one that was published
    or pinned; DiskError, UsageError: see `unpack`.
    """
    todo = missing(chosen, target)
    check_room(target, sum(_room(one, target) for one in todo))
    for one in todo:
        found = _checked(one, _fetched(one, target), say)
        if one.unpack:
            found = _unpacked(one, target, found, keep)
        _note(target, one.url, found)
    have = _read(target)
    return {one.url: have[one.url] for one in chosen.files}


def _room(one: File, target: Path) -> int:
    """Bytes that a file will need: what is not here of it yet, and as much again for what comes out of it."""
    size = one.size or download.look(one.url).size
    part = target / f"{one.name}.part"
    here = part.stat().st_size if part.exists() else 0
    return max(0, size - here) + (size if one.unpack else 0)


def _fetched(one: File, target: Path) -> Path:
    path = target / one.name
    if path.is_file():  # whole, but killed before it was checked, or kept
        return path
    with Bar(one.name, one.size) as bar:
        return download.fetch(one.url, path, lambda done, total: bar.at(done, total or one.size))


def _checked(one: File, path: Path, say: Say) -> Have:
    """The file's sums against those that are published, or else against the pin. A wrong file is removed."""
    with Bar(f"checking {one.name}", path.stat().st_size) as bar:
        sums = download.digests(path, {"sha256", *one.sums}, bar.at)
    for kind, text in one.sums.items():
        if sums[kind] != text:
            path.unlink()
            raise HostError(
                f"{one.name} is not what was published: its {kind} is {sums[kind]}, not {text}",
                "it was removed: try again later, or look whether it has changed at its source",
            )
    found = Have(sums["sha256"], path.stat().st_size, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    if one.sums:
        say(f"  {one.name}: {' and '.join(one.sums)} as published")
    else:
        _pinned(one, path, found, say)
    return found


def _unpacked(one: File, target: Path, found: Have, keep: bool) -> Have:
    path = target / one.name
    with Bar(f"unpacking {one.name}") as bar:
        names = unpack(path, target, bar.at)
    if not keep:
        path.unlink()
    return msgspec.structs.replace(found, unpacked=names)


# what is noted


def pins_path() -> Path:
    """Where this user's pins are."""
    return settings.home() / "downloads.json"


def _pinned(one: File, path: Path, found: Have, say: Say) -> None:
    """Note the sum at the first time; hold the file against it later."""
    pins = _json(pins_path(), dict[str, Have])
    before = pins.get(one.url)
    if before is None:
        _write_json(pins_path(), {**pins, one.url: found})
        say(f"  {one.name}: nobody publishes its sum; pinned at first use: sha256 {found.sha256}")
    elif before.sha256 != found.sha256:
        path.unlink()
        raise HostError(
            f"{one.name} is not the file that came on {before.fetched[:10]}: its sha256 is {found.sha256}, not "
            f"{before.sha256}",
            f"it was removed; if the new one is right, take the old one out of {pins_path()}",
        )
    else:
        say(f"  {one.name}: sha256 as pinned on {before.fetched[:10]}")


def _is_there(found: Have | None, one: File, target: Path) -> bool:
    if found is None or any(kind == "sha256" and found.sha256 != text for kind, text in one.sums.items()):
        return False
    if one.unpack:
        return found.unpacked is not None and all((target / name).exists() for name in found.unpacked)
    path = target / one.name
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
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "it is a note of what was fetched: remove it") from error


def _write_json(path: Path, value: dict[str, Have]) -> None:
    part = path.with_name(f"{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(msgspec.to_builtins(value), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(path)
