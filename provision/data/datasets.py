"""Public data sets: which files they are, of what sums, and where they can be had. The table is sets.yaml;
`downloads` brings them."""

from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import msgspec

from infra.border import did_you_mean, load_yaml
from infra.errors import UsageError
from provision.data.download_notes import NOTES

_TABLE = Path(__file__).with_name("sets.yaml")
_LONGEST = 200  # bytes of a file's name, with room for the endings of its parts
_SUMS = {"sha256": 64, "md5": 32}


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of a set: size in bytes (0: not published), sums in hex where they are published (`sources` says by whom);
    with `unpack` it is an archive, and goes when its content is there. Its `url` is its name in all notes; `mirrors`
    are tried in their order where the url fails, and are held against the same sums."""

    url: str
    mirrors: tuple[str, ...] = ()
    size: int = 0
    sha256: str = ""
    md5: str = ""
    unpack: bool = False
    sources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        name = PurePosixPath(unquote(PurePosixPath(urlsplit(self.url).path).name)).name  # %2F would lead out
        odd = name in ("", "..", NOTES) or not name.isprintable() or len(name.encode("utf-8", "replace")) > _LONGEST
        return "download" if odd else name

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it may be had, the best first."""
        return (self.url, *self.mirrors)

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


@cache
def table() -> SetTable:
    return load_yaml(_TABLE, SetTable)


def is_url(what: str) -> bool:
    """Whether it is an address. UsageError for one that cannot be, or holds a login: addresses are noted and shown."""
    try:
        parts = urlsplit(what)
    except ValueError as error:
        raise UsageError(f"{what!r} is no address: {error}", "write https://HOST/FILE") from error
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        raise UsageError(
            "the address holds a login, which would stand in notes and messages",
            "fetch the file with a browser or curl, and give --from FILE with the address without it",
        )
    return parts.scheme in ("http", "https")


def find(what: str, sha256: str = "", md5: str = "", unpacked: bool = False) -> tuple[str, Set]:
    """The set of that name; for a URL, a set of that one file, with the user's sums.

    UsageError for an unknown name, for a sum that is none, and for sums beside a name.
    """
    for kind, text in (("sha256", sha256), ("md5", md5)):
        if text and (len(text) != _SUMS[kind] or not set(text.lower()) <= set("0123456789abcdef")):
            raise UsageError(f"{text!r} is no {kind}", f"give {_SUMS[kind]} digits of 0-9 and a-f")
    if is_url(what):
        file = File(url=what, sha256=sha256, md5=md5, unpack=unpacked)
        return PurePosixPath(file.name).stem, Set(about=what, files=(file,))
    if what not in table().sets:
        raise UsageError(f"there is no data set {what!r}", did_you_mean(what, table().sets))
    if sha256 or md5 or unpacked:
        raise UsageError(
            f"--sha256, --md5 and --unpack are for an address: the set {what} has its own",
            "leave them out; --from gives another place to take its files from",
        )
    return what, table().sets[what]
