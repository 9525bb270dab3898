"""The index of Python packages that this machine's pip is set up for: which files of a version fit, and their SHA-256.

pip itself is asked, in this process, so that its configuration, its CA and its passwords apply. Nothing is downloaded:
the index's pages carry the checksums. The modules of pip that are called here are pip's own and change with it (used
with pip 23 to 26); only whoever renews the data that comes with provision needs them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# older wheels name the glibc that they need by a year, newer ones by its version (manylinux_2_31, PEP 600)
_YEARS = ("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64")


@dataclass(frozen=True)
class Interpreter:
    """A Python on x86_64 Linux: its version (3.9), and the minor release of its glibc 2 (31)."""

    version: str
    glibc: int

    @property
    def words(self) -> list[str]:
        """pip's options that select this Python and this glibc."""
        digits = self.version.replace(".", "")
        abis = ["cp27mu", "none"] if self.version == "2.7" else [f"cp{digits}", "abi3", "none"]
        platforms = [*(f"manylinux_2_{minor}_x86_64" for minor in range(self.glibc, 4, -1)), *_YEARS]
        return ["--python-version", self.version, "--implementation", "cp",
                *(word for abi in abis for word in ("--abi", abi)),
                *(word for platform in platforms for word in ("--platform", platform))]  # fmt: skip


@dataclass(frozen=True)
class File:
    """A wheel or source package at the index."""

    name: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        return self.name.endswith(".whl")


def files(packages: Sequence[tuple[str, str]], python: Interpreter) -> dict[str, list[File]]:
    """For each (name, version) in `packages`: the wheels and source packages that fit `python`, sorted by file name."""
    from pip._internal.cli.cmdoptions import make_target_python
    from pip._internal.commands import create_command

    command = create_command("index")
    options, _ = command.parse_args(["versions", "any", *python.words])
    found = {}
    with command.main_context():
        finder = command._build_package_finder(
            options, command._build_session(options), make_target_python(options), ignore_requires_python=False
        )
        for name, version in packages:
            links = [
                candidate.link for candidate in finder.find_all_candidates(name) if str(candidate.version) == version
            ]
            there = {File(link.filename, link.hash) for link in links if link.hash_name == "sha256"}
            found[name] = sorted(there, key=lambda file: file.name)
    return found
