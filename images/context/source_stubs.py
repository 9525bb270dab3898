"""The stubs of GPU methods in a build for the CPU alone: each method that a layer declares is defined there once.

Caffe's macros STUB_GPU and its two halves define `Forward_gpu` and `Backward_gpu` of a class where there is no GPU. A
fork that never built for the CPU stubs what a class defines itself or does not declare, which a compiler refuses, or
forgets a layer, which a linker refuses. Runs beside apply_patches.py inside image builds: standard library only.
"""

import re

try:
    from images.context import source_text
    from images.context.source_tree import ALREADY, CHANGED, SKIPPED, Tree
except ImportError:  # inside an image build the modules lie side by side
    import source_text  # type: ignore[import-not-found, no-redef]
    from source_tree import ALREADY, CHANGED, SKIPPED, Tree  # type: ignore[import-not-found, no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Plain = dict[str, Any]
    Done = tuple[str, list[str], str]  # status, paths, note
    Macros = dict[str, int | None]

BOTH = ("Forward", "Backward")
MARK = "// as its class declares"

_CLASS = re.compile(r"\bclass\s+(?:[A-Z_]+\s+)?(\w+)\s*(?::[^;{}()]*)?\{")
_METHOD = re.compile(r"\b(Forward|Backward)_gpu\s*\(")
_DEFINED = re.compile(r"\b(\w+)\s*<\s*\w+\s*>\s*::\s*(Forward|Backward)_gpu\s*\(")
_STUB = re.compile(r"([ \t]*)STUB_GPU(?:_FORWARD|_BACKWARD)?\s*\(\s*(\w+)\s*(?:,\s*(\w+)\s*)?\)\s*;?[ \t]*$")
_MADE = re.compile(r"[ \t]*INSTANTIATE_CLASS\s*\(\s*(\w+)\s*\)")


class Layer:
    """A class's GPU methods: those that wait for a definition, those that it has, and where it is instantiated."""

    def __init__(self) -> None:
        self.declared: list[dict[str, str]] = []  # of each declaration: method -> "waits", "has" or "abstract"
        self.coded: set[str] = set()  # methods that plain code of the CPU's build defines
        self.stubbed: dict[str, list[tuple[int, tuple[str, ...]]]] = {}  # path -> lines from 0, and what they stub
        self.made: list[tuple[str, int]] = []  # path, line from 0

    @property
    def known(self) -> bool:
        """Whether the tree declares it, and everywhere in the same way."""
        return bool(self.declared) and all(one == self.declared[0] for one in self.declared)

    @property
    def wanted(self) -> "list[str]":
        """The methods that a stub has to define."""
        return [name for name in BOTH if self.declared[0].get(name) == "waits" and name not in self.coded]

    @property
    def missing(self) -> "list[str]":
        """The wanted methods that no stub defines."""
        there = {name for lines in self.stubbed.values() for _, names in lines for name in names}
        return [name for name in self.wanted if name not in there] if self.known and self.made else []


def layers(tree: Tree, known: "Macros") -> "dict[str, Layer]":
    """The classes of the tree's own sources, as a build sees them in which the macros have these values."""
    found: dict[str, Layer] = {}
    for path in tree.sources():
        text = tree.read(path)
        if path.endswith((".cu", ".cuh")) or not re.search(r"\bclass\b|STUB_GPU|INSTANTIATE_CLASS", text):
            continue
        code = _left(text, known)
        for name, methods in _classes(code):
            found.setdefault(name, Layer()).declared.append(methods)
        for one in _DEFINED.finditer(code):
            if re.match(r"\s*\{", code[_closed(code, one.end(), "()") :]):
                found.setdefault(one[1], Layer()).coded.add(one[2])
        for number, line in enumerate(code.split("\n")):
            stub, made = _STUB.match(line), _MADE.match(line)
            if stub:
                names = (stub[3],) if stub[3] else BOTH
                found.setdefault(stub[2], Layer()).stubbed.setdefault(path, []).append((number, names))
            if made:
                found.setdefault(made[1], Layer()).made.append((path, number))
    return found


def misfits(tree: Tree, known: "Macros") -> "Iterator[tuple[str, int, str]]":
    """Where a build does not compile or link for its stubs: path, line from 1, and what is wrong."""
    for name, layer in layers(tree, known).items():
        for path, there in layer.stubbed.items():
            for number, _ in _narrowed(name, layer, there):
                yield path, number + 1, f"a stub of {name} that its class does not declare, or defines itself"
        for method in layer.missing:
            yield layer.made[0][0], layer.made[0][1] + 1, f"{name}::{method}_gpu has no stub"


def stubs(change: "Plain", tree: Tree) -> "Done":
    """Stubs define what their class declares and nothing else defines; where one is missing, it is put in."""
    lines: dict[str, dict[int, str]] = {}
    for name, layer in layers(tree, {**change["known"], change["macro"]: 1}).items():
        for path, there in layer.stubbed.items():
            lines.setdefault(path, {}).update(_narrowed(name, layer, there))
        if layer.missing:
            path, number = layer.made[0]
            said = f"#ifdef {change['macro']}\n{_stub(name, layer.missing)}  {MARK}\n#endif"
            line = tree.read(path).split("\n")[number]
            lines.setdefault(path, {})[number] = f"{said}\n{line}"
    files = [path for path, changed in lines.items() if changed]
    for path in files:
        text = tree.read(path).split("\n")
        tree.planned[path] = "\n".join(lines[path].get(number, line) for number, line in enumerate(text))
    done = any(MARK in tree.read(path) for path in tree.sources())
    return (CHANGED, sorted(files), "") if files else (ALREADY if done else SKIPPED, [], "")


def _narrowed(name: str, layer: Layer, there: "list[tuple[int, tuple[str, ...]]]") -> "Iterator[tuple[int, str]]":
    """The stubs of one file that say too much: their lines, and what takes their place."""
    given: set[str] = set()
    for number, names in there:
        keep = [
            one for one in names if one not in given and (one not in BOTH or not layer.known or one in layer.wanted)
        ]
        given |= set(keep)
        if keep != list(names):
            yield number, _stub(name, keep) + f"  {MARK}"


def _stub(name: str, methods: "list[str]") -> str:
    if methods == list(BOTH):
        return f"STUB_GPU({name});"
    kinds = {"Forward": "FORWARD", "Backward": "BACKWARD"}
    return "\n".join(f"STUB_GPU_{kinds[one]}({name}, {one});" for one in methods) or f"// no stub of {name}"


def _left(text: str, known: "Macros") -> str:
    """The code that the preprocessor leaves, and no definitions of macros; each line stays where it was."""
    said, goes_on = [], False
    for line, there in zip(source_text.code_of(text).split("\n"), source_text.live(text, known), strict=True):
        goes_on = goes_on or bool(re.match(r"[ \t]*#[ \t]*define\b", line))
        said.append(line if there and not goes_on else "")
        goes_on = goes_on and line.rstrip().endswith("\\")
    return "\n".join(said)


def _classes(code: str) -> "Iterator[tuple[str, dict[str, str]]]":
    """The classes with their GPU methods, and whether each waits for its definition, has it, or is abstract."""
    for name, whole in bodies(code):
        body, methods = _flat(whole), {}
        for one in _METHOD.finditer(body):
            end = re.match(
                r"\s*(?:const\b)?\s*(?:override\b)?\s*(=\s*0\s*;|[;{])", body[_closed(body, one.end(), "()") :]
            )
            if end:
                methods[one[1]] = {"=": "abstract", ";": "waits", "{": "has"}[end[1][0]]
        yield name, methods


def bodies(code: str) -> "Iterator[tuple[str, str]]":
    """The classes of what `code_of` gave, each with what stands between its braces."""
    for head in _CLASS.finditer(code):
        yield head[1], code[head.end() : _closed(code, head.end(), "{}") - 1]


def _flat(body: str) -> str:
    """A class's body without what stands in the bodies of its own members."""
    said, at = [], 0
    for brace in re.finditer(r"\{", body):
        if brace.start() >= at:
            said.append(body[at : brace.end()])
            at = _closed(body, brace.end(), "{}") - 1
    return "".join([*said, body[at:]])


def _closed(code: str, place: int, pair: str) -> int:
    """The place behind the bracket that closes the one before `place`."""
    depth = 1
    for one in re.finditer(rf"[{re.escape(pair)}]", code[place:]):
        depth += 1 if one[0] == pair[0] else -1
        if depth == 0:
            return place + one.end()
    return len(code)
