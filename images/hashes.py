"""The checksums of the Python packages that a stack installs: data, in pip's own format, a file in `hashes/` a stack.

A line for each package, with the SHA-256 of every wheel that fits the stack's Python on x86_64 Linux. Where there is no
such wheel it is that of the source package, and the line ends in `# sdist`. pip refuses any other file, whatever index
it came from. `python -m images.hashes` writes them anew from the index that pip is set up for.
"""

import hashlib
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from images.distributions import distribution
from images.stacks import Stack, stacks
from infra.errors import UsageError

if TYPE_CHECKING:
    from infra.pipindex import File

FOLDER = Path(__file__).parent / "hashes"
SDIST = "# sdist"

# the minor release of glibc 2 that a distribution has (packages.debian.org, 2026-11-29)
_GLIBC = {"debian11": 31, "debian12": 36, "debian13": 41, "ubuntu22.04": 35, "ubuntu24.04": 39}
_LINE = re.compile(r"([a-z0-9-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)(?:  # sdist)?")


def text(stack: Stack) -> str:
    """The requirements file, with checksums, that pip gets."""
    return _read(FOLDER / stack.hashes)


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def line(stack: Stack, package: str) -> str:
    """The line of the requirements file for one package."""
    return next(line for line in text(stack).splitlines() if line.startswith(f"{package}=="))


def digest(stack: Stack) -> str:
    """`sha256:…` of the file."""
    return f"sha256:{hashlib.sha256(text(stack).encode()).hexdigest()}"


def parse(given: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Package → its version, and the SHA-256 sums of the files that pip may take. UsageError names a wrong line."""
    found = {}
    for line in given.splitlines():
        match = _LINE.fullmatch(line)
        if not match:
            raise UsageError(f"not a line of checksums: {line[:60]}", "renew the file: python -m images.hashes")
        found[match[1]] = (match[2], tuple(re.findall("[0-9a-f]{64}", match[3])))
    return found


def fetched(stack: Stack) -> str:
    """The file's text as the index has it today. UsageError names a package of which it has no file."""
    from infra import pipindex

    there: dict[str, set[pipindex.File]] = {name: set() for name in stack.packages}
    for name in stack.distributions:
        python = stack.settings.get("python") or "python" + distribution(name).versions["python"]
        interpreter = pipindex.Interpreter(python.removeprefix("python"), _GLIBC[name])
        for package, files in pipindex.files(list(stack.packages.items()), interpreter).items():
            there[package] |= set(files)
    return "".join(written(name, version, there[name]) for name, version in sorted(stack.packages.items()))


def written(name: str, version: str, files: "set[File]") -> str:
    wheels = {file for file in files if file.is_wheel}
    if not files:
        raise UsageError(f"the index has no file of {name} {version} that fits", f"see: pip index versions {name}")
    hashes = "".join(f" --hash=sha256:{file.sha256}" for file in sorted(wheels or files, key=lambda file: file.name))
    return f"{name}=={version}{hashes}" + ("" if wheels else f"  {SDIST}") + "\n"


if __name__ == "__main__":
    for stack in stacks().values():
        if stack.hashes:
            (FOLDER / stack.hashes).write_text(fetched(stack), encoding="utf-8")
            print(FOLDER / stack.hashes, file=sys.stderr)
