"""Files of a data set into a folder: fetched with resume from the first address that has them, checked, unpacked.

What comes from a server gets its name only when it is what was published, or what was pinned. So a file that lies in
the folder under such a name was checked, or is the user's own, brought by hand: it is checked in its place, taken where
it is right, and never removed. A sum that nobody publishes is pinned last: when all of the file came, and its archive
could be unpacked.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from infra import download
from infra.disk import is_file, writing
from infra.errors import HostError, UsageError
from provision import console
from provision.console import Say
from provision.data.archive_names import SoundArchiveError
from provision.data.datasets import File, Set
from provision.data.download_notes import Have, had, note, pin, pins, pins_path, seen
from provision.data.download_sources import Wanted, refuse_unproven, room, wanted_file
from provision.data.unpack import unpack
from provision.files.bar import Bar
from provision.files.folders import check_room
from provision.files.whole import atomic_file

_FEW = 3  # tries of an address that another one follows


class Got(msgspec.Struct, frozen=True):
    """All that the folder has of a set, by URL; which files were fetched now, and which were there by hand."""

    have: dict[str, Have]
    fetched: list[str]
    taken: list[str]


class _Lying(msgspec.Struct, frozen=True):
    """A file on this disk, with its sums. `ours` was fetched, and may be removed; `pinnable`: all of it came from an
    address of the table, or from the one that the user named."""

    path: Path
    found: Have
    ours: bool = False
    pinnable: bool = False


def missing(chosen: Set, target: Path) -> list[File]:
    """The files that the folder does not have."""
    have = had(target)
    return [file for file in chosen.files if _noted(file, target, have) is None]


def get(
    chosen: Set, target: Path, keep: bool = False, say: Say = console.line, sources: Sequence[str] = (), names: str = ""
) -> Got:
    """Bring what is missing to `target`. With `keep` archives stay. `sources` are files, folders and addresses to take
    the set's files from before its own addresses; the sums hold for them, too. `names`: the encoding of names in
    archives that do not tell it.

    The room on the disk is looked at first. HostError where a file cannot be had or is not the file that was published
    or pinned; UsageError where nothing could tell whether it is, or where another file is in the way; DiskError,
    UsageError: see `unpack`.
    """
    todo = [wanted_file(file, chosen, sources) for file in missing(chosen, target)]
    refuse_unproven(todo)
    check_room(target, sum(room(wanted, target, say) for wanted in todo))
    fetched: list[str] = []
    taken: list[str] = []
    with _alone(target, say):
        for wanted in todo:
            if _noted(wanted.file, target, had(target)) is not None:  # another command's, for which this one waited
                continue
            lying = _at_hand(wanted, target, say) or _from_servers(wanted, target, say)
            (fetched if lying.ours else taken).append(wanted.name)
            _settle(wanted.file, lying, target, keep, say, names)
    have = had(target)
    return Got({file.url: found for file in chosen.files if (found := _noted(file, target, have))}, fetched, taken)


@contextmanager
def _alone(target: Path, say: Say) -> Iterator[None]:
    """Nobody else fetches to that folder meanwhile."""
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        handle = os.open(target, os.O_RDONLY)
    try:
        with suppress(OSError):  # of a disk on a network, which may know no locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"  another command fetches to {target}: waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _noted(file: File, target: Path, have: dict[str, Have]) -> Have | None:
    """What the folder has of the file, by any of its addresses; None where it is not there, or is another version."""
    for url in file.addresses:
        found = have.get(url)
        if found is None or found.sha256 != file.sums.get("sha256", found.sha256):
            continue
        if file.unpack:
            if found.unpacked is not None and all((target / name).exists() for name in found.unpacked):
                return found
        elif is_file(path := target / file.name) and path.stat().st_size == found.size:
            return found
    return None


# where a file is taken from


def _at_hand(wanted: Wanted, target: Path, say: Say) -> _Lying | None:
    """The file where it lies on this disk already. UsageError where it is not the right one: it stays."""
    path, file = wanted.local or target / wanted.name, wanted.file
    if not is_file(path):
        return None
    have = had(target)
    if wanted.local is None:
        for url, known in have.items():
            if url not in file.addresses and known.unpacked is None and File(url=url).name == file.name:
                raise UsageError(f"{path} came from {url}", "name another folder for this one")
    sums = _sums(file, path)
    found = seen(sums["sha256"], path.stat().st_size)
    noted = [have[url] for url in file.addresses if url in have]
    ours = wanted.local is None and any(one.sha256 == found.sha256 and not one.by_hand for one in noted)
    if wrong := _wrong(file, sums):
        if ours:  # the table, or the pin, is of another version by now
            return None
        raise UsageError(f"{path}: {wrong}", "move it away, or give the right file")
    if not ours:
        say(f"  {file.name}: {path} is taken" + ("" if _known(file) else f", sha256 {found.sha256}; not pinned"))
    return _Lying(path, msgspec.structs.replace(found, by_hand=not ours), ours, ours)


def _from_servers(wanted: Wanted, target: Path, say: Say) -> _Lying:
    """The file from the first address that has it. HostError where none has."""
    file, first = wanted.file, None
    for number, url in enumerate(wanted.addresses, 1):
        last = number == len(wanted.addresses)
        try:
            return _from_server(file, url, target, download.TRIES if last else _FEW, say)
        except HostError as error:
            first = first or error
            if not last:
                say(f"  {error.what}; trying {wanted.addresses[number]}")
                if not _known(file):  # two servers' parts would be joined, and nothing could tell
                    download.forget(target / file.name)
    assert first is not None  # there is an address
    by_hand = f"or bring the file by hand: put it to {target / file.name}, and run the same command again"
    others = len(wanted.addresses) - 1
    more = f"; nor from {others} other address{'es' * (others > 1)}" if others else ""
    raise HostError(first.what + more, f"{first.mend}; {by_hand}") from first


def _from_server(file: File, url: str, target: Path, tries: int, say: Say) -> _Lying:
    path = target / file.name
    sums: dict[str, str] = {}

    def check(part: Path) -> str:
        sums.update(_sums(file, part))
        return _wrong(file, sums)

    say(f"  {file.name}: from {urlsplit(url).hostname}")
    with Bar(file.name, file.size) as bar:
        told = download.fetch(
            url, path, lambda done, total: bar.at(done, total or file.size), tries=tries, unproven=not _known(file),
            say=say, check=check,
        )  # fmt: skip
    if not told and not _known(file):
        say(f"  {file.name}: the server did not say how long it is, and nobody publishes its sum: it may be a half")
    found = seen(sums["sha256"], path.stat().st_size)
    note(target, file.url, found)
    return _Lying(path, found, True, told and url in file.addresses)


# checking


def _known(file: File) -> bool:
    """Whether a sum says what the file has to be."""
    return bool(file.sums) or file.url in pins()


def _sums(file: File, path: Path) -> dict[str, str]:
    with Bar(f"checking {file.name}", path.stat().st_size) as bar:
        return download.digests(path, {"sha256", *file.sums}, bar.at)


def _wrong(file: File, sums: dict[str, str]) -> str:
    """What is wrong with a file of these sums: those that are published decide, or else the pin."""
    for kind, text in file.sums.items():
        if sums[kind] != text:
            return f"it is not what was published: its {kind} is {sums[kind]}, not {text}"
    before = None if file.sums else pins().get(file.url)
    if before is None or before.sha256 == sums["sha256"]:
        return ""
    return (
        f"it is not the file that came on {before.fetched[:10]}: its sha256 is {sums['sha256']}, not {before.sha256} "
        f"(if the new file is right, take the old sum out of {pins_path()})"
    )


def _settle(file: File, lying: _Lying, target: Path, keep: bool, say: Say, names: str) -> None:
    """Unpack or place the file, and note it; what may be pinned is pinned."""
    found = lying.found
    if file.unpack:
        found = msgspec.structs.replace(found, unpacked=_unpacked(file, lying, target, say, names))
        if lying.ours and not keep:
            lying.path.unlink()
    elif lying.path != target / file.name:
        _copied(lying.path, target / file.name)
    if file.sums:
        say(f"  {file.name}: {' and '.join(file.sums)} as published")
    elif before := pins().get(file.url):
        say(f"  {file.name}: sha256 as pinned on {before.fetched[:10]}")
    elif lying.pinnable:
        pin(file.url, msgspec.structs.replace(found, unpacked=None))
        say(f"  {file.name}: nobody publishes its sum; pinned at first use: sha256 {found.sha256}")
    note(target, file.url, found)


def _unpacked(file: File, lying: _Lying, target: Path, say: Say, names: str) -> list[str]:
    """The archive's topmost names. One that was fetched and is none is removed, so that the next run fetches it."""
    with Bar(f"unpacking {file.name}") as bar:
        try:
            return unpack(lying.path, target, bar.at, encoding=names, say=say)
        except UsageError as error:
            if not lying.ours or file.sums or isinstance(error.__cause__, SoundArchiveError):
                raise
            lying.path.unlink()
            note(target, file.url, None)
            raise HostError(error.what, f"{error.mend} (it was removed, and is not pinned)") from error


def _copied(path: Path, target: Path) -> None:
    with atomic_file(target) as part:
        shutil.copyfile(path, part)
