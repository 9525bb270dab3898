"""Baking: a machine image out of a prepared host, so that later machines of its GPU family have nothing to install.

What is the machine's own is taken out of it right before (`infra/host/clean.sh`), and AWS restarts it for the image.
So a baked machine is of no more use, and the caller ends it. Where something fails, it is let be as it was: it still
answers, half an image is deleted, and its ends stay armed throughout.
"""

import dataclasses
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

from infra import laptop
from infra.aws.cleanup import Removal
from infra.aws.ec2 import Ec2
from infra.aws.machine_images import Baked, ImageRequest, MachineImages
from infra.aws.prices import SNAPSHOT_GB_MONTH
from infra.aws.resources import Holding
from infra.aws.session import Cloud
from infra.aws.tags import DRIVER, OWNER
from infra.aws.types import Instance
from infra.errors import HostError, LeftoverError, ProvisionError, RunError
from infra.host import script
from infra.shell import Shell
from provision.console import Say
from provision.offers import amis, cache
from provision.settings import state_home

_NOT_READY, _IN_USE = 40, 41  # of clean.sh


def plan(cloud: Cloud, instance: Instance, shell: Shell) -> ImageRequest:
    """What would be asked for. RunError while a training runs there, HostError where the machine is not ready."""
    _check(cloud, _clean("look", shell), instance.name)
    family = amis.family_of(Ec2(cloud).instance_type(instance.type).gpu, instance.type)
    now, driver = datetime.now(timezone.utc), instance.record.driver
    return ImageRequest(
        instance=instance.id, name=instance.name, family=family, made_from=instance.image,
        label=f"provision {family} {now:%Y-%m-%d %H.%M.%S} {secrets.token_hex(2)}",
        gb=instance.record.disk_gb, left_out=MachineImages(cloud).disks(instance.id),
        tags={OWNER: laptop.owner(state_home()), **({DRIVER: driver} if driver else {})},
    )  # fmt: skip


def bake(
    cloud: Cloud, request: ImageRequest, shell: Shell, say: Say, sleep: Callable[[float], None] = time.sleep
) -> Baked:
    """Make the image and wait for it. The machine is still there, and has to be ended by the caller.

    RunError while a training runs there; HostError where the machine is not ready, or cannot be cleaned; AuthError or
    CloudError where AWS does not make the image. Then half an image is deleted, and the machine stays as it was.
    """
    images = MachineImages(cloud, sleep)
    images.check(request)
    try:
        say(f"taking out of {request.name} what is its own")
        _check(cloud, _clean("clean", shell), request.name)
        image = images.create(request)
        say(f"{image} is being made; {request.name} restarts for it. This takes minutes")
        made = images.wait(image, say)
    except BaseException:
        _undo(cloud, request, shell, say)
        raise
    cache.forget(cloud)
    return dataclasses.replace(made, gb=made.gb or request.gb)


def remove(cloud: Cloud, image: Baked) -> None:
    """Delete the image, then its snapshots; LeftoverError where one is still there."""
    removal = Removal(cloud)
    removal.delete(Holding("machine images", image.id))
    for snapshot in image.snapshots:
        removal.delete(Holding("snapshots", snapshot))
    cache.forget(cloud)
    images = MachineImages(cloud)
    left = [baked.id for baked in images.all() if baked.id == image.id]
    left += [str(row["SnapshotId"]) for row in images.snapshots(image.snapshots)]
    if left:
        raise LeftoverError(f"still there: {', '.join(left)}", f"run it again: {cloud.hint(f'ami rm {image.id}')}")


def monthly(image: Baked | ImageRequest) -> float:
    """US dollars a month for its snapshot: at most, as empty blocks and what another snapshot has are not billed."""
    return image.gb * SNAPSHOT_GB_MONTH


def _clean(what: str, shell: Shell) -> tuple[int, str]:
    """Exit code and reason of clean.sh, which comes along: a machine of an older provision does not have it."""
    done = shell.run(["sudo", "sh", "-s", what], stdin=script("clean.sh").encode(), check=False)
    return done.code, (done.err.strip().splitlines() or [""])[-1]


def _check(cloud: Cloud, done: tuple[int, str], name: str) -> None:
    code, why = done
    if code == _IN_USE:
        raise RunError(
            f"{name} cannot be baked: {why}",
            f"wait until it ends, or stop it: {cloud.hint('runs')} lists it, {cloud.hint('stop RUN')}",
        )
    if code == _NOT_READY:
        again = cloud.hint(f"up --name {name}")
        raise HostError(f"{name} cannot be baked: {why}", f"make it ready: {again}, with the --instance that it is")
    if code:
        raise HostError(f"{name} could not be prepared for an image (exit code {code}): {why}", "bake again")


def _undo(cloud: Cloud, request: ImageRequest, shell: Shell, say: Say) -> None:
    """Let us in again, and leave no half image. AWS's restart has brought the logins back already: then SSH is gone."""
    with suppress(ProvisionError):
        _clean("undo", shell)
    try:
        images = MachineImages(cloud)
        if image := images.labelled(request.label):
            remove(cloud, images.get(image))
    except ProvisionError as error:
        say(f"half an image may be left ({error.what}): {cloud.hint('ami ls')}")
    say(f"{request.name} was not ended, and is billed until its deadline: {cloud.hint(f'down {request.name}')}")
