"""The machine image of a choice (`amis`) as it is in a region now."""

from dataclasses import dataclass

import msgspec

from infra.aws.ec2 import Ec2
from infra.aws.machine_images import baked as baked_image
from infra.aws.parameters import parameter
from infra.aws.session import Cloud
from provision.offers import cache
from provision.offers.amis import Ami, driver_in


@dataclass(frozen=True)
class MachineImage:
    """What a machine starts from: the AMI, the name of its root disk, the driver branch still to install, how many GB
    the root disk must have at least (AWS refuses one that is smaller than the image's), and the driver that a machine
    will have; "" where nobody knows."""

    id: str
    root_device: str
    driver: str = ""
    gb: int = 0
    version: str = ""


class _Own(msgspec.Struct, frozen=True):
    """An image that we baked, as the cache keeps it: its id, the name of its root disk, and how many GB that has."""

    id: str
    root_device: str
    gb: int


class _About(msgspec.Struct, frozen=True):
    """What AWS says of an image, as the cache keeps it: the name of its root disk, and its own name and description."""

    root_device: str
    words: str


def resolve(cloud: Cloud, ami: Ami) -> MachineImage:
    """The image as it is in this region now.

    NotOfferedError where the region has none; AuthError or CloudError where AWS does not answer.
    """
    own = baked(cloud, ami)
    if own is not None:
        return own
    image = ami.parameter
    if not image.startswith("ami-"):
        image = cache.look(cloud, f"parameter {ami.parameter}", str, lambda: parameter(cloud, ami.parameter))
    about = cache.look(cloud, f"machine image {image}", _About, lambda: _About(*Ec2(cloud).machine_image(image)))
    return MachineImage(
        image, about.root_device, ami.driver if ami.install else "", version=driver_in(ami, about.words)
    )


def baked(cloud: Cloud, ami: Ami) -> MachineImage | None:
    """The newest image that was baked of a host with a GPU of its families, and with its driver, if there is one.

    That there is none is asked again each time where a keeper may have made one meanwhile.
    """
    families = ami.families
    if not families:
        return None

    def ask() -> list[_Own]:  # none is an answer that is worth keeping, too
        found = baked_image(cloud, families, ami.driver)
        return [_Own(*found)] if found else []

    what = f"baked for {' '.join(families)}"
    lasts = cache.kept(cloud, what, list[_Own]) or not ami.install
    newest = cache.look(cloud, what, list[_Own], ask, cache.KEPT_S if lasts else 0.0)
    return MachineImage(newest[0].id, newest[0].root_device, gb=newest[0].gb, version=ami.version) if newest else None
