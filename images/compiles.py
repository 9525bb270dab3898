"""What a source tree compiles with, as far as a reader can tell: what of libraries' older interfaces is left in it.

The table `anchors.yaml` says what a later version of a library no longer has. A source that holds none of it has
nothing known against it, which is less than a compiler says, and can be said before one runs. The preprocessor's
conditions are heeded: code for another version of a library does not count.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from images.context import source_python, source_stubs, source_text
from images.context.apply_patches import holds
from images.context.source_tree import Tree
from images.distributions import distributions
from images.matrix import rows
from images.steps import Where
from images.versions import key
from infra import border

FILE = Path(__file__).parent / "anchors.yaml"
NAMES = {"cuda": "CUDA", "cudnn": "cuDNN", "opencv": "OpenCV", "protobuf": "protobuf", "gcc": "gcc", "boost": "Boost",
         "glog": "glog", "python": "Python", "cpu": "the CPU alone"}  # fmt: skip
_NOT_THE_CPUS = re.compile(r"\.cuh?$|/cudnn|^matlab/|/test/|(^|/)(windows|android)/")
_PYTHON2 = {"xrange", "raw_input", "unicode", "unichr", "basestring", "reduce", "file", "execfile"}
_MODULES2 = {"cPickle", "StringIO", "cStringIO", "urllib2", "ConfigParser", "Queue", "_caffe", "pycaffe"}
_METHODS2 = {"iteritems", "iterkeys", "itervalues", "has_key"}
_SHOWN = 3  # places shown of each anchor

Versions = Mapping[str, str | None]


class Anchor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is gone from a library since a version: a word, a call with so many arguments, or a line of some files."""

    library: str
    since: str
    because: str
    word: str = ""
    call: str = ""
    arguments: tuple[int, ...] = ()
    line: str = ""
    files: tuple[str, ...] = ()
    unless: Where | None = None
    given: str = ""


class Left(msgspec.Struct, frozen=True):
    """What a tree still holds of a library's older interface: where, what, since when it is gone, and why."""

    since: str
    where: str
    what: str
    because: str

    @property
    def said(self) -> str:
        since = f"since {self.since} " if self.since != "0" else ""
        return f"{self.where}: {self.what}: {since}{self.because}"


class Verdict(msgspec.Struct, frozen=True):
    """A library in the version that was asked about, how many anchors were looked for, and what is left of them."""

    library: str
    version: str | None
    anchors: int
    left: tuple[Left, ...]

    @property
    def title(self) -> str:
        """`cuDNN 9.26`, `the CPU alone`."""
        return NAMES[self.library] + (f" {self.version}" if self.version not in (None, "0") else "")

    @property
    def notes(self) -> list[str]:
        """What to say of it, place by place, or how much was looked for in vain."""
        if not self.left:
            return [f"{self.anchors} kind{'s' * (self.anchors != 1)} of older code looked for"]
        older = f"nothing is known against {NAMES[self.library]} older than {self.below}"
        return [one.said for one in self.left] + [older] * (self.below is not None)

    @property
    def compiles(self) -> bool:
        return not self.left

    @property
    def below(self) -> str | None:
        """The version below which nothing is known against the tree; None: there is nothing at all."""
        return min((one.since for one in self.left if one.since != "0"), key=key, default=None)


@cache
def anchors() -> tuple[Anchor, ...]:
    return border.load_yaml(FILE, tuple[Anchor, ...])


@cache
def newest() -> dict[str, str | None]:
    """The newest version of each library that some image has; of what no image fixes, the newest that there is."""
    found: dict[str, str | None] = {"glog": "0.7"}
    for name in ("cuda", "cudnn"):
        found[name] = max((value for row in rows().values() if (value := getattr(row, name))), key=key)
    for name in ("opencv", "protobuf", "boost", "python"):
        found[name] = max((one.versions[name] for one in distributions().values() if name in one.versions), key=key)
    found["gcc"] = max((one.default_gcc for one in distributions().values()), key=key)
    return found


def verdicts(tree: Tree, versions: Versions | None) -> list[Verdict]:
    """What is known of each library: in these versions, or in the newest ones. A library that they lack is left out."""
    asked = newest() if versions is None else versions
    found: dict[str, list[Left]] = {}
    counted: dict[str, int] = {}
    known = macros(asked, settled=versions is not None)
    asked = {**asked, "cpu": None if asked.get("cuda") else "0"}
    for anchor in anchors():
        version = asked.get(anchor.library)
        if version and key(version) >= key(anchor.since)[: len(key(version))]:
            counted[anchor.library] = counted.get(anchor.library, 0) + 1
            found.setdefault(anchor.library, []).extend(_left(anchor, tree, known))
    if asked.get("python") and key(str(asked["python"])) >= (3,):
        found["python"], counted["python"] = list(_python(tree)), 2
    if "cpu" in found:
        found["cpu"] += [
            Left("0", f"{path}:{line}", what, "a build without CUDA does not compile or link with it")
            for path, line, what in source_stubs.misfits(tree, {**known, "__CUDACC__": None})
        ]
        counted["cpu"] += 1
    return [Verdict(name, asked.get(name), counted[name], tuple(found[name])) for name in NAMES if name in counted]


def macros(versions: Versions, *, settled: bool) -> dict[str, int | None]:
    """The values that the preprocessor's conditions see; `settled`: also whether there are CUDA and cuDNN at all."""
    known: dict[str, int | None] = {"CV_VERSION_EPOCH": None}
    for name, make in _MACROS.items():
        library, one = name
        version = versions.get(library)
        if version:
            parts = (*key(version), 0, 0)
            known[one] = make(parts[0], parts[1], parts[2])
    if key(versions.get("opencv") or "4") < (3,):
        known |= {"CV_VERSION_EPOCH": 2, "CV_VERSION_MAJOR": 4}
    if settled:
        known |= {"CPU_ONLY": None if versions.get("cuda") else 1, "USE_CUDNN": 1 if versions.get("cudnn") else None,
                  "USE_NCCL": 1 if versions.get("nccl") else None}  # fmt: skip
        known |= {} if versions.get("cuda") else {"USE_CUDA": None}
    return known


_MACROS: dict[tuple[str, str], Any] = {
    ("cudnn", "CUDNN_MAJOR"): lambda major, minor, patch: major,
    ("cudnn", "CUDNN_VERSION_MIN"): lambda major, minor, patch: major * 10000 + minor * 100 + patch,
    ("cudnn", "CUDNN_VERSION"): lambda major, minor, patch: major * (1000 if major < 9 else 10000) + minor * 100,
    ("cuda", "CUDA_VERSION"): lambda major, minor, patch: major * 1000 + minor * 10,
    ("cuda", "CUDART_VERSION"): lambda major, minor, patch: major * 1000 + minor * 10,
    ("cuda", "__CUDA_ARCH__"): lambda major, minor, patch: 600 if major < 13 else 750,
    ("opencv", "CV_MAJOR_VERSION"): lambda major, minor, patch: major,
    ("opencv", "CV_VERSION_MAJOR"): lambda major, minor, patch: major,
    ("protobuf", "GOOGLE_PROTOBUF_VERSION"): lambda major, minor, patch: major * 1000000 + minor * 1000 + patch,
}


def _left(anchor: Anchor, tree: Tree, known: dict[str, int | None]) -> Iterator[Left]:
    """The places where a tree holds what an anchor tells of; the first few in full, of the others the number."""
    if anchor.unless and holds(msgspec.to_builtins(anchor.unless), tree):
        return
    paths = [path for path in anchor.files if tree.has(path)] if anchor.files else tree.sources()
    if anchor.library == "cpu":  # such a build leaves CUDA's own sources out
        paths = [path for path in paths if not _NOT_THE_CPUS.search(path)]
    places = [(f"{path}:{line}", what) for path in paths for line, what in _places(anchor, tree.read(path), known)]
    for where, what in places[:_SHOWN]:
        yield Left(anchor.since, where, what, anchor.because)
    if len(places) > _SHOWN:
        yield Left(anchor.since, f"and {len(places) - _SHOWN} more places", places[_SHOWN][1], anchor.because)


def _places(anchor: Anchor, text: str, known: dict[str, int | None]) -> Iterator[tuple[int, str]]:
    """Line numbers, from 1, and what stands there."""
    pattern = _pattern(anchor)
    if not pattern.search(text):
        return
    left = source_text.live(text, known)
    code = source_text.code_of(text)
    if anchor.line:
        source = not anchor.files or anchor.files[0].endswith(source_text.SUFFIXES)
        codes = code.split("\n")
        for number, line in enumerate(text.split("\n"), 1):
            if left[number - 1] and pattern.search(line) and (not source or codes[number - 1].strip()):
                yield number, line.strip()[:60]
        return
    found = [(one.start(), one[0]) for one in pattern.finditer(code)]
    if anchor.call:
        found = [
            (begin, f"{anchor.call} with {len(arguments)} arguments")
            for begin, end, arguments in source_text.calls(code, anchor.call)
            if len(arguments) in anchor.arguments and not (anchor.given and anchor.given in text[begin:end])
        ]
    for place, what in found:
        number = code.count("\n", 0, place)
        if left[number] and not re.match(r"[ \t]*#[ \t]*define\b", code.split("\n")[number]):
            yield number + 1, what


@cache
def _pattern(anchor: Anchor) -> re.Pattern[str]:
    if anchor.line:
        return re.compile(anchor.line, re.MULTILINE)
    return re.compile(rf"(?<![\w:])(?:cv::)?(?:{anchor.word or anchor.call})(?!\w)")


def _gone(module: ast.Module) -> list[tuple[int, str]]:
    """The names of Python 2 that a module calls or imports, and does not define: lines and names."""
    nodes = list(ast.walk(module))
    own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    found = [(one.lineno, one.id) for one in called if isinstance(one, ast.Name) and one.id in _PYTHON2 - own]
    found += [
        (one.lineno, one.attr)
        for one in called
        if isinstance(one, ast.Attribute) and one.attr in _METHODS2 and not _is_six(one.value)
    ]
    top = [one for one in module.body if isinstance(one, ast.Import | ast.ImportFrom)]  # not those that a try is around
    found += [
        (one.lineno, name)
        for one in top
        for name in ([one.module or ""] if isinstance(one, ast.ImportFrom) else [alias.name for alias in one.names])
        if name in _MODULES2 and not (isinstance(one, ast.ImportFrom) and one.level)
    ]
    found += [
        (one.lineno, alias.name)
        for one in top
        if isinstance(one, ast.ImportFrom) and one.module == "itertools"
        for alias in one.names
        if alias.name in ("izip", "izip_longest", "imap", "ifilter")
    ]
    return sorted(found)[:_SHOWN]


def _is_six(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("six", "utils")


def _python(tree: Tree) -> Iterator[Left]:
    """The modules of pycaffe that Python 3 cannot read."""
    for name in source_python.modules(tree, "python/caffe"):
        try:
            # bytes: a file may say its own encoding
            module = ast.parse(tree.read(name).encode("utf-8", "surrogateescape"))
            yield from (
                Left("3", f"{name}:{line}", what, "Python 3 has it no more, or under another name")
                for line, what in _gone(module)
            )
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            yield Left("3", f"{name}:{line}", "Python 2", str(getattr(error, "msg", error)))
