"""Which machine image a GPU needs: a table keyed by the GPU's family, not "the newest".

The newest image of a name may no longer have a driver for an old GPU: AWS's own dropped P3 in the midst of 2026. The
table is `amis.yaml`. An image that we baked (`provision:baked=FAMILY`) goes before the table's, and the user's settings
before both: `ami` for all machines, `amis: {Volta: ami-...}` for a family. What it is in a region is in `ami_lookup`.
"""

import re
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from images import gpus
from infra import border
from infra.errors import UsageError
from provision.settings import Settings

PATH = Path(__file__).parent / "amis.yaml"
NO_GPU = "none"
SHARED = "vGPU"  # a share of a GPU: no machine image of the table has NVIDIA's GRID driver, which that needs

_SAID = re.compile(r"driver(?: version)?:? v?(\d{3}\.\d+(?:\.\d+)?)", re.IGNORECASE)
_DATE = re.compile(r"\b(20\d{6})\b")


class Ami(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of choice. `parameter`: an SSM parameter, or an id. `driver` is the branch and `version` the least of it
    that a machine will have; both are empty where nobody knows (an image of the user's own). `releases`: the driver in
    the image by the date in its name, from each that brought another."""

    parameter: str
    modules: Literal["proprietary", "open", "none"] = "none"
    driver: str = ""
    version: str = ""
    releases: dict[str, str] = {}
    install: bool = False
    source: str = ""
    date: str = ""
    name: str = ""
    families: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    images: dict[str, Ami]
    families: dict[str, str]


def load(path: Path = PATH) -> dict[str, Ami]:
    """The table by family. UsageError with the key path where the file is wrong."""
    found = border.load_yaml(path, _File)
    for family, name in found.families.items():
        if name not in found.images:
            raise UsageError(f"{path}: there is no image {name!r} (at families.{family})",
                             border.did_you_mean(name, found.images))  # fmt: skip
    shared = {name: tuple(family for family, image in found.families.items() if image == name) for name in found.images}
    return {
        family: msgspec.structs.replace(found.images[name], name=name, families=shared[name])
        for family, name in found.families.items()
    }


@cache
def table() -> dict[str, Ami]:
    """The table of this product, by family."""
    return load()


def family_of(gpu: str, kind: str = "") -> str:
    """The GPU's family; a GPU that is newer than our data goes with the newest family, no GPU is "none". AWS's types
    with a share of a GPU are a family of their own."""
    if not gpu:
        return NO_GPU
    if (known := gpus.aws_types().get(kind)) and known.share < 1:
        return SHARED
    found = gpus.known(gpu)
    return found.family if found else "Blackwell"


def choose(settings: Settings, family: str) -> Ami:
    """The table's line for the family, or the user's own image.

    UsageError for a family in the settings that is none, and for a share of a GPU without an image of the user's own.
    """
    families = {*table(), SHARED}
    if unknown := [name for name in settings.amis if name not in families]:
        raise UsageError(f"{unknown[0]!r} is no GPU family (at amis.{unknown[0]})",
                         border.did_you_mean(unknown[0], families))  # fmt: skip
    own = settings.ami or settings.amis.get(family)
    if not own and family == SHARED:
        raise UsageError(
            "a share of a GPU needs NVIDIA's GRID driver, and no machine image that is known here has it",
            "take g6.xlarge, which has a whole one; or name an image in the settings: amis: {vGPU: ami-…}",
        )
    return Ami(parameter=own, name=own, source="the user's settings") if own else table()[family]


def driver_in(ami: Ami, about: str) -> str:
    """The driver of a machine image by what AWS says of it, its name and description: as they tell it; else by the date
    in the name; else by the table. "" where nobody knows."""
    if ami.install:  # it is not in the image
        return ami.version
    if said := _SAID.search(about):
        return said[1]
    if not ami.releases or not (date := _DATE.search(about)):
        return ami.version
    return next((ami.releases[day] for day in sorted(ami.releases, reverse=True) if day <= date[1]), "")
