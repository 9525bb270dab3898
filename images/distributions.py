"""Distributions: what a release packages that sources are built against. Data in `distributions.yaml`.

Versions decide on patches and build options; package names are those of that release. What a program links against
at run time is not listed here: the build finds the packages by asking the linker and dpkg.
"""

from functools import cache
from pathlib import Path

import msgspec

from infra import border
from infra.errors import UsageError

PATH = Path(__file__).parent / "distributions.yaml"


class Distribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release.

    `gcc` are the majors of gcc that it packages, oldest first; the last is not always its default, which is
    `default_gcc`. `versions` are python, boost, opencv, protobuf, hdf5, skimage. `python` is the interpreter's name,
    `python_include` are folders of headers, `python_libraries` are names for the linker. `build` are packages to
    compile Caffe, `pycaffe` those that pycaffe needs at run time. `source` says where this is from.
    """

    codename: str
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


def load(path: Path = PATH) -> dict[str, Distribution]:
    """Distributions by name (debian12, ubuntu20.04). UsageError with the key path where the file is wrong."""
    found = border.load_yaml(path, dict[str, Distribution])
    return {name: msgspec.structs.replace(one, name=name) for name, one in found.items()}


@cache
def distributions() -> dict[str, Distribution]:
    return load()


def distribution(name: str) -> Distribution:
    """The distribution of that name."""
    if name not in distributions():
        raise UsageError(f"nothing is known of the distribution {name!r}", border.did_you_mean(name, distributions()))
    return distributions()[name]
