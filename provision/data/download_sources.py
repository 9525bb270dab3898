"""Where the files of a data set are taken from: addresses in their order, the user's own first, or this disk."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import msgspec

from infra import download
from infra.disk import is_file
from infra.errors import HostError, UsageError
from provision.console import Say
from provision.data.datasets import File, Set, is_url
from provision.data.download_notes import pins


class Wanted(msgspec.Struct, frozen=True):
    """A file that is to be had: the addresses to try, those of the user first; or where it lies on this disk."""

    file: File
    addresses: tuple[str, ...]
    local: Path | None = None

    @property
    def name(self) -> str:
        return self.file.name


def wanted_file(file: File, chosen: Set, sources: Sequence[str]) -> Wanted:
    """Where to look for the file. UsageError for a source that is not there."""
    only, addresses = len(chosen.files) == 1, list(file.addresses)
    for source in reversed(sources):
        if is_url(source):
            if source.endswith("/"):
                addresses.insert(0, source + PurePosixPath(urlsplit(file.url).path).name)
            elif only or File(url=source).name == file.name:
                addresses.insert(0, source)
            continue
        path = Path(source)
        if is_file(path / file.name):
            return Wanted(file, (), path / file.name)
        if is_file(path) and (only or path.name == file.name):
            return Wanted(file, (), path)
        if not path.exists():
            raise UsageError(f"{source} is not there", "give a file, a folder with the set's files, or an address")
    return Wanted(file, tuple(addresses))


def refuse_unused(chosen: Set, sources: Sequence[str]) -> None:
    """UsageError for a source that no file of the set would be taken from."""
    names = ", ".join(file.name for file in chosen.files)
    for source in sources:
        if all(wanted_file(file, chosen, [source]) == Wanted(file, file.addresses) for file in chosen.files):
            raise UsageError(
                f"{source} is none of the files of this set", f"it has {names}: name the file so, or its folder"
            )


def refuse_unproven(todo: list[Wanted]) -> None:
    """UsageError for a file by http:// that has no sum, published or pinned: anyone on the way may change it."""
    known = pins()
    for wanted in todo:
        if wanted.file.sums or wanted.file.url in known:
            continue
        for url in wanted.addresses:
            if not download.private(url):
                mend = "take an address with https://"
                if url == wanted.file.url:
                    mend += ", or give the sum that its owner tells: --sha256 SUM"
                raise UsageError(
                    f"{url} comes by http://, where anyone on the way can change it, and nobody publishes its sum", mend
                )


def room(wanted: Wanted, target: Path, say: Say) -> int:
    """Bytes that a file will need: what is not here of it yet, and as much again for what comes out of it."""
    path = target / wanted.name
    if wanted.local is not None:
        return wanted.local.stat().st_size
    if is_file(path):
        return path.stat().st_size if wanted.file.unpack else 0
    size = wanted.file.size or _size(wanted, say)
    part = target / f"{wanted.name}.part"
    here = part.stat().st_size if part.exists() else 0
    return max(0, size - here) + (size if wanted.file.unpack else 0)


def _size(wanted: Wanted, say: Say) -> int:
    """The file's size in bytes, as the first server that answers says; 0 where none does: the fetch will tell why."""
    for url in wanted.addresses:
        say(f"  {wanted.name}: asking {urlsplit(url).hostname} for its size")
        try:
            if size := download.size(url):
                return size
        except HostError:
            continue
    return 0
