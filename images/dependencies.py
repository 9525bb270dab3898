"""What a source tree includes beyond what every Caffe needs: libraries with their packages, and headers of nobody's."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import msgspec

from images.context.source_tree import Tree
from infra import border

FILE = Path(__file__).parent / "headers.yaml"

_INCLUDE = re.compile(r"""(?m)^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]""")
_GENERATED = re.compile(r".*\.pb\.h|.*\bcaffe_config\.h")


class Library(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A library that a fork adds: what its headers are called, and its packages (Ubuntu's: Debian's if not given)."""

    headers: tuple[str, ...]
    debian: tuple[str, ...]
    ubuntu: tuple[str, ...] = ()


class Headers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table: what a compiler or the system has, what every Caffe needs, and what forks add."""

    plain: tuple[str, ...]
    caffe: tuple[str, ...]
    added: dict[str, Library]


class Need(msgspec.Struct, frozen=True):
    """A library that a tree needs beyond Caffe's own, or a header that is not known (no packages); who includes it."""

    name: str
    debian: tuple[str, ...]
    ubuntu: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def note(self) -> str:
        """`Debian: libmatio-dev; Ubuntu: the same`."""
        if self.name.startswith("caffe/"):
            return "the tree has no such file"
        if not self.debian:
            return "no library with that header is known here: the fork's own words say where it is from"
        ubuntu = "the same" if self.ubuntu == self.debian else ", ".join(self.ubuntu)
        return f"Debian: {', '.join(self.debian)}; Ubuntu: {ubuntu}"


@cache
def table() -> Headers:
    return border.load_yaml(FILE, Headers)


def needs(tree: Tree) -> list[Need]:
    """What the tree's own sources include that is neither theirs nor of every Caffe, by name."""
    own = _endings([*tree.sources(), *_bundled(tree.root)])
    found: dict[str, list[str]] = {}
    for path in tree.sources():
        if path.startswith("matlab/") or "/windows/" in path:
            continue
        for header in _INCLUDE.findall(tree.read(path)):
            if not (header.startswith(".") or PurePosixPath(header).as_posix() in own or _GENERATED.fullmatch(header)):
                found.setdefault(header, []).append(path)
    said: dict[str, list[str]] = {}
    for header, paths in found.items():
        for name in _named(header):
            said.setdefault(name, []).extend(path for path in paths if path not in said.get(name, ()))
    return [_need(name, tuple(sorted(paths))) for name, paths in sorted(said.items())]


def _need(name: str, paths: tuple[str, ...]) -> Need:
    library = table().added.get(name)
    if library is None:
        return Need(name, (), (), paths)
    return Need(name, library.debian, library.ubuntu or library.debian, paths)


def _named(header: str) -> Iterator[str]:
    """The library of a header; the header itself where no library is known; nothing for what every Caffe has."""
    for name, library in table().added.items():
        if any(re.fullmatch(one, header) for one in library.headers):
            yield name
            return
    if not any(re.fullmatch(one, header) for one in (*table().plain, *table().caffe)):
        yield header


def _bundled(root: Path) -> list[str]:
    """The paths of all headers, also of those that others wrote."""
    return [path.relative_to(root).as_posix() for path in root.rglob("*.*") if path.suffix.startswith((".h", ".cuh"))]


def _endings(paths: list[str]) -> set[str]:
    """All ends of the paths: a/b/c.h is found as b/c.h and c.h, too."""
    parts = [path.split("/") for path in paths]
    return {"/".join(one[start:]) for one in parts for start in range(len(one))}
