"""Distributions: the packages of each release that sources are built against. Data in `distributions.yaml`.

Versions decide on patches and build options; package names are those of that release. What a program links against
at run time is not listed here: the build finds the packages by asking the linker and dpkg.
"""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from infra import border
from infra.errors import UsageError

PATH = Path(__file__).parent / "distributions.yaml"


class Distribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release.

    `end_of_life` is the last day of free support, YYYY-MM-DD. `afterwards` tells where its packages are then: still on
    the distribution's `mirror` (Ubuntu's LTS), or for certain only in a dated `snapshot` (Debian: the mirror and its
    security suite are emptied, the archive is filled months later; infra/apt.sh looks in all of them).
    `gcc` are the majors of gcc that it packages, oldest first; the last is not always its default, which is
    `default_gcc`. `versions` are python, boost, opencv, protobuf, hdf5, skimage. `python` is the interpreter's name,
    `python_include` are folders of headers, `python_libraries` are names for the linker. `build` are packages to
    compile Caffe, `pycaffe` those that pycaffe needs at run time. `source` says where this is from.
    """

    codename: str
    end_of_life: str
    afterwards: Literal["snapshot", "mirror"]
    gcc: tuple[str, ...]
    default_gcc: str
    versions: dict[str, str]
    python: str
    python_include: tuple[str, ...]
    python_libraries: tuple[str, ...]
    include: tuple[str, ...]
    library: tuple[str, ...]
    build: tuple[str, ...]
    pycaffe: tuple[str, ...]
    source: str
    name: str = ""

    def ended(self, today: date | None = None) -> bool:
        """Whether the release is past its end, today or on another day."""
        return (today or date.today()) > date.fromisoformat(self.end_of_life)


def load(path: Path = PATH) -> dict[str, Distribution]:
    """Distributions by name (debian12, ubuntu20.04). UsageError with the key path where the file is wrong."""
    found = border.load_yaml(path, dict[str, Distribution])
    for name, release in found.items():
        _check_date(path, name, release.end_of_life)
    return {name: msgspec.structs.replace(release, name=name) for name, release in found.items()}


def _check_date(path: Path, name: str, end: str) -> None:
    try:
        date.fromisoformat(end)
    except ValueError as error:
        raise UsageError(f"{path}: {end!r} is no day (at {name}.end_of_life)", "write it as 2028-06-30") from error


@cache
def distributions() -> dict[str, Distribution]:
    return load()


def distribution(name: str) -> Distribution:
    """The distribution of that name. UsageError, which names the nearest, where there is none."""
    if name not in distributions():
        raise UsageError(f"nothing is known of the distribution {name!r}", border.did_you_mean(name, distributions()))
    return distributions()[name]
