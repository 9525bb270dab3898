"""What a source tree includes beyond what every Caffe needs: libraries with their packages, and headers of nobody's."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import msgspec

from images.context import source_text
from images.context.source_tree import Tree
from infra import border

FILE = Path(__file__).parent / "headers.yaml"

_INCLUDE = re.compile(r"""(?m)^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]""")
Macros = dict[str, int | None]

_ELSEWHERE: Macros = dict.fromkeys(
    ("_WIN32", "_WIN64", "WIN32", "_MSC_VER", "__APPLE__", "__MACH__", "__ANDROID__", "ANDROID", "MATLAB_MEX_FILE")
)
_ASIDE = re.compile(r"matlab/|(.*/)?(windows|android)/")  # what no Makefile of Caffe's compiles
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
            return "the tree has no such file: it was left out, or the fork's own build makes it"
        if not self.debian:
            return "no library with that header is known here: the fork's own words say where it is from"
        ubuntu = "the same" if self.ubuntu == self.debian else ", ".join(self.ubuntu)
        return f"Debian: {', '.join(self.debian)}; Ubuntu: {ubuntu}"


@cache
def table() -> Headers:
    return border.load_yaml(FILE, Headers)


def needs(tree: Tree, known: Macros | None = None) -> list[Need]:
    """What the tree's own sources include that is neither theirs nor of every Caffe, by name.

    Headers that come along with the tree count as far as its own sources include them. `known`: what the preprocessor
    is told; a header for another system, or for what these macros leave out, does not count.
    """
    macros = {**_told(tree), **(known or {}), **_ELSEWHERE}
    own = _endings(tree.sources())
    others = _endings(_bundled(tree.root))
    found: dict[str, list[str]] = {}
    todo = [path for path in tree.sources() if not _ASIDE.match(path)]
    seen = set(todo)
    for path in todo:  # which grows
        told = macros if path in own else {**_undefined(tree, path), **macros}
        for header in included(tree.read(path), told):
            name = PurePosixPath(header).as_posix()
            other = others.get(name)
            if other and name not in own and other not in seen and header in _named(header):
                seen.add(other)
                todo.append(other)
            if not (header.startswith(".") or name in own or other or _GENERATED.fullmatch(header)):
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


def included(text: str, known: Macros) -> list[str]:
    """The headers that a source includes, where the preprocessor's conditions leave it; none in comments."""
    lines = zip(text.split("\n"), source_text.code_of(text).split("\n"), source_text.live(text, known), strict=True)
    found = [_INCLUDE.match(line) for line, code, there in lines if there and code.strip()]
    return [one[1] for one in found if one]


def _told(tree: Tree) -> Macros:
    """The macros that the Makefile defines on the command line, whatever is built: `-DNAME=NUMBER`."""
    found: Macros = {}
    depth = 0
    for line in tree.read("Makefile").split("\n") if tree.has("Makefile") else ():
        word = line.split("#")[0].strip()
        depth += word.startswith("if") - word.startswith("endif")
        if depth == 0:
            found |= {name: int(value or 1) for name, value in re.findall(r"-D(\w+)(?:=(\d+))?(?=\s|$)", word)}
    return found


def _undefined(tree: Tree, path: str) -> Macros:
    """The macros that conditions of somebody else's header ask for, and neither it nor the tree's build defines."""
    text = source_text.code_of(tree.read(path))
    build = "".join(tree.read(one) for one in ("Makefile", "CMakeLists.txt") if tree.has(one))
    conditions = re.findall(r"(?m)^[ \t]*#[ \t]*(?:el)?if(?:n?def)?\b(.*)", text)
    asked = {name for line in conditions for name in re.findall(r"\b(?!__)[A-Za-z_]\w*", line)}
    defined = {*re.findall(r"#[ \t]*define[ \t]+(\w+)", text), *re.findall(r"\w+", build.replace("-D", " "))}
    return dict.fromkeys(asked - defined)


def _bundled(root: Path) -> list[str]:
    """The paths of all headers, also of those that others wrote."""
    return [path.relative_to(root).as_posix() for path in root.rglob("*.*") if path.suffix.startswith((".h", ".cuh"))]


def _endings(paths: list[str]) -> dict[str, str]:
    """All ends of the paths, with one of them each: a/b/c.h is found as b/c.h and c.h, too."""
    parts = [path.split("/") for path in paths]
    return {"/".join(one[start:]): "/".join(one) for one in parts for start in range(len(one))}
