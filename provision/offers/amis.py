"""Which machine image a GPU needs: a table keyed by the GPU's family, not "the newest".

The newest image of a name may no longer have a driver for an old GPU: AWS's own dropped P3 in the midst of 2026. The
table is `amis.yaml`. An image that we baked (`provision:baked=FAMILY`) goes before the table's, and the user's settings
before both: `ami` for all machines, `amis: {Volta: ami-...}` for a family.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from images import gpus
from infra import border
from infra.aws.ec2 import Ec2
from infra.aws.machine_images import baked as baked_image
from infra.aws.session import Cloud
from infra.aws.ssm import parameter
from infra.errors import UsageError
from provision import lookups
from provision.settings import Settings

PATH = Path(__file__).parent / "amis.yaml"
NO_GPU = "none"


class Ami(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of choice. `parameter`: an SSM parameter, or an id. `driver` is the branch and `version` the least of it
    that a machine will have; both are empty where nobody knows (an image of the user's own)."""

    parameter: str
    modules: Literal["proprietary", "open", "none"] = "none"
    driver: str = ""
    version: str = ""
    install: bool = False
    source: str = ""
    date: str = ""
    name: str = ""
    families: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    images: dict[str, Ami]
    families: dict[str, str]


@dataclass(frozen=True)
class MachineImage:
    """What a machine starts from: the AMI, the name of its root disk, the driver branch still to install, and how many
    GB the root disk must have at least: AWS refuses one that is smaller than the image's."""

    id: str
    root_device: str
    driver: str = ""
    gb: int = 0


def load(path: Path = PATH) -> dict[str, Ami]:
    """The table by family. UsageError with the key path where the file is wrong."""
    found = border.load_yaml(path, _File)
    for family, name in found.families.items():
        if name not in found.images:
            raise UsageError(f"{path}: there is no image {name!r} (at families.{family})",
                             border.did_you_mean(name, found.images))  # fmt: skip
    shared = {name: tuple(family for family, one in found.families.items() if one == name) for name in found.images}
    return {
        family: msgspec.structs.replace(found.images[name], name=name, families=shared[name])
        for family, name in found.families.items()
    }


@cache
def table() -> dict[str, Ami]:
    """The table of this product, by family."""
    return load()


def family_of(gpu: str) -> str:
    """The GPU's family; a GPU that is newer than our data goes with the newest family, no GPU is "none"."""
    if not gpu:
        return NO_GPU
    known = gpus.gpus().get(gpu)
    return known.family if known else "Blackwell"


def choose(settings: Settings, family: str) -> Ami:
    """The table's line for the family, or the user's own image."""
    unknown = [name for name in settings.amis if name not in table()]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no GPU family (at amis.{unknown[0]})",
                         border.did_you_mean(unknown[0], table()))  # fmt: skip
    own = settings.ami or settings.amis.get(family)
    return Ami(parameter=own, name=own, source="the user's settings") if own else table()[family]


def resolve(cloud: Cloud, ami: Ami) -> MachineImage:
    """The image as it is in this region now. NotOfferedError where the region has none."""
    own = baked(cloud, ami.families)
    if own is not None:
        return own
    image = ami.parameter
    if not image.startswith("ami-"):
        image = lookups.look(cloud, f"parameter {ami.parameter}", str, lambda: parameter(cloud, ami.parameter))
    device = lookups.look(cloud, f"root device of {image}", str, lambda: Ec2(cloud).root_device(image))
    return MachineImage(image, device, ami.driver if ami.install else "")


def baked(cloud: Cloud, families: tuple[str, ...]) -> MachineImage | None:
    """The newest image that `provision ami bake` made of a host with a GPU of these families, if there is one."""
    if not families:
        return None
    found = lookups.look(
        cloud, f"baked for {' '.join(families)}", list[str], lambda: [*map(str, baked_image(cloud, families) or ())]
    )
    return MachineImage(found[0], found[1], gb=int(found[2])) if found else None
