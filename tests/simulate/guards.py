"""The real guard on a simulated host: a copy of its package for each, with paths in that host's folder."""

import builtins
import io
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

ROOTS = ("/var/lib/provision", "/run/provision", "/opt/provision")
ELSEWHERE = (*ROOTS, "/dev/pts")  # what the guard looks at, in that host's folder
NAME = "guard"
CHANGES: dict[str, Callable[[Any], None]] = {}  # module of the guard → what a mutation changes in it


class Guard:
    """The guard of one host, loaded anew. `words`: what the host's programs answer, as `guard.host.words_of` does."""

    def __init__(self, folder: Path, words: Any) -> None:
        self.folder, self.words = folder, words
        self.modules: dict[str, types.ModuleType] = {}

    def call(self, *words: str, stdin: bytes = b"") -> None:
        """As `python3 /opt/provision/guard WORDS`. SystemExit, or whatever ends it."""
        main = self._main()
        main["sys"] = vars(self.modules[f"{NAME}.notes"])["sys"] = _System(("guard", *words), stdin)
        exec(_code("__main__", self.folder), main)

    def _main(self) -> dict[str, Any]:
        if not self.modules:
            self._load()
        return {"__name__": "__main__", "__file__": "guard", "__builtins__": _Builtins(self).__dict__}

    def _load(self) -> None:
        """Its modules, as `guard.NAME`; they import each other by the names that `sys.modules` has meanwhile."""
        before = {name: module for name, module in sys.modules.items() if name == NAME or name.startswith(f"{NAME}.")}
        package = types.ModuleType(NAME)
        package.__path__ = []
        self.modules[NAME] = sys.modules[NAME] = package
        try:
            waiting = [path.stem for path in files() if path.stem not in ("__init__", "__main__")]
            while waiting:
                self._next(waiting)
        finally:
            for name in self.modules:
                sys.modules.pop(name, None)
            sys.modules.update(before)

    def _next(self, waiting: list[str]) -> None:
        """Load the first that needs none of those that are not loaded yet."""
        for stem in waiting:
            module = types.ModuleType(f"{NAME}.{stem}")
            module.__package__, module.__file__ = NAME, f"/opt/provision/{NAME}/{stem}.py"
            sys.modules[module.__name__] = module
            try:
                exec(_code(stem, self.folder), module.__dict__)
            except ImportError:
                sys.modules.pop(module.__name__)
                continue
            waiting.remove(stem)
            self.modules[module.__name__] = module
            setattr(self.modules[NAME], stem, module)
            self._seams(module)
            return
        raise ImportError(f"the guard's modules cannot be loaded: {waiting}")

    def _seams(self, module: types.ModuleType) -> None:
        """What would reach this machine reaches the host."""
        there = vars(module)
        if change := CHANGES.get(stem_of(module)):
            change(module)
        if "words_of" in there:
            there["words_of"] = self.words
        if "apart" in there:
            there["apart"] = matched
        if "open_inodes" in there:  # nothing is half written where one thread runs at a time
            there["open_inodes"] = lambda *_: set()
        if "subprocess" in there:
            there["subprocess"] = _Subprocess(self.words)
        if stem_of(module) == "copying":  # it prints for whoever asked over SSH
            there["print"] = lambda *_, **__: None
        if stem_of(module) == "watch":
            there["os"] = _Os()


def matched(pattern: str, paths: list[str]) -> tuple[dict[str, list[Any]], bool]:
    """In the place of `guard.snapshots.apart`, without the process of its own."""
    found = {path: re.fullmatch(pattern, path) for path in paths}
    words = {path: fits.groupdict() for path, fits in found.items() if fits}
    return {path: [int(have.get("iteration") or 0), have.get("part")] for path, have in words.items()}, True


def stem_of(module: types.ModuleType) -> str:
    return module.__name__.removeprefix(f"{NAME}.")


class _Os:
    """`os`; the guard's end is that of its thread, and not of this process."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _exit(self, code: int) -> None:
        raise SystemExit(code)


class _Subprocess:
    """What the guard uses of `subprocess`."""

    PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
    SubprocessError, TimeoutExpired = subprocess.SubprocessError, subprocess.TimeoutExpired
    CalledProcessError = subprocess.CalledProcessError

    def __init__(self, words: Any) -> None:
        self._words = words

    def run(self, words: Any, **_: Any) -> Any:
        code, text = self._words(words)
        return subprocess.CompletedProcess(words, code, text.encode(), b"")


class _System:
    """`sys` with other words, and another standard input."""

    def __init__(self, argv: tuple[str, ...], stdin: bytes) -> None:
        self.argv, self.path = list(argv), [""]
        self.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


class _Builtins(types.SimpleNamespace):
    """Those of Python; `import` finds this host's guard."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(**vars(builtins))
        real = builtins.__import__

        def found(name: str, *words: Any, **more: Any) -> Any:
            if name.split(".")[0] == NAME:
                return guard.modules[name]
            return real(name, *words, **more)

        self.__import__ = found


@cache
def files() -> list[Path]:
    from infra.host import __file__ as here

    return sorted(Path(here).with_name("guard").glob("*.py"))


@cache
def _source(stem: str) -> str:
    return next(path for path in files() if path.stem == stem).read_text(encoding="utf-8")


def _code(stem: str, folder: Path) -> Any:
    text = _source(stem)
    if stem == "__main__":
        text = text.replace("import sys\n", "")
    for root in ELSEWHERE:
        text = text.replace(root, f"{folder}{root}")
    return compile(text, f"guard/{stem}.py", "exec", dont_inherit=True)
