"""`provision ami …`: machine images of prepared hosts, for quicker starts."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from infra.errors import NotFoundError, ProvisionError
from provision import clouds, console
from provision.clouds import Session
from provision.commands.options import IMAGE, MACHINE, cloud_options, dry_run_option, json_option
from provision.commands.session import places, where_is

if TYPE_CHECKING:
    from infra.aws.machine_images import Baked, ImageRequest
    from infra.aws.session import Cloud


@click.group()
def ami() -> None:
    """Bake machine images of prepared hosts; later machines of the same GPU family start from them."""


@ami.command()
@click.argument("name", type=MACHINE)
@cloud_options
@dry_run_option
@json_option
def bake(name: str, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Make a machine image of NAME, and end NAME.

    The image holds what is installed on NAME (Docker, the driver, NVIDIA's toolkit, Docker images) and what you put
    into /home and /data. It holds no keys, no trainings and none of their data. NAME is restarted first, even a spot
    machine, and ended afterwards. No training may run on it.
    """
    from provision.machines import bake as baking
    from provision.machines import down, find, login

    here = where_is(name, flags)
    cloud = here.cloud
    with find.locked(cloud, name):
        with login.shell(cloud, instance := find.find(cloud, name)) as host:
            request = baking.plan(cloud, instance, host)
            if dry_run:
                _show_request(request, as_json)
                return
            made = baking.bake(cloud, request, host, here.say)
        if not as_json:
            _show_made(made, here)
        ended = down.down(cloud, name, here.say, launch=instance.launch)
    if as_json:
        console.emit_json({**row(cloud, made), "ended": ended.as_json()})
        return
    for line in ended.words():
        console.say(line)


def _show_request(request: "ImageRequest", as_json: bool) -> None:
    from provision.machines import bake as baking

    if as_json:
        console.emit_json(dataclasses.asdict(request))
        return
    console.say(f"would restart {request.name}, make a machine image of it for {_family(request.family)}, and end it")
    console.say(f"  {_size(request.gb, baking.monthly(request))}; from {request.made_from}")
    for device in request.left_out:
        console.say(f"  without the volume at {device}")


def _show_made(made: "Baked", here: Session) -> None:
    from provision.machines import bake as baking

    console.say(f"{made.id} is ready, for {_family(made.family)}: {_size(made.gb, baking.monthly(made))}")
    console.say(f"  each later `up` of these uses it; delete it: {here.hint(f'ami rm {made.id}')}")


def _family(family: str) -> str:
    return "machines without a GPU" if family == "none" else f"{family} GPUs and others with the same driver"


def _size(gb: int, monthly: float) -> str:
    from infra.aws import prices

    return f"{gb} GB, at most ${monthly:.2f} a month (prices of {prices.table().date})"


@ami.command()
@cloud_options
@json_option
def ls(as_json: bool, **flags: Any) -> None:
    """List the baked machine images, newest first, of each region that `provision ls` lists."""
    here = clouds.session(**flags)
    found, errors = _all(here)
    if as_json and not errors:
        console.emit_json([row(cloud, baked) for cloud, baked in found])
    elif found:
        columns = ("image", "region", "family", "created", "size", "$/month", "state", "from")
        console.table("", columns, [_cells(cloud, baked) for cloud, baked in found])
    elif not errors:
        console.say(f"no baked machine images: `{here.hint('ami bake NAME')}` makes one")
    if errors:
        raise errors[0]


def row(cloud: "Cloud", baked: "Baked") -> dict[str, Any]:
    """A baked image as `ami ls --json` shows it; the price is in US dollars."""
    from provision.machines import bake as baking

    return {**dataclasses.asdict(baked), "region": cloud.region, "dollars_a_month": round(baking.monthly(baked), 2)}


def _cells(cloud: "Cloud", baked: "Baked") -> tuple[object, ...]:
    from provision.machines import bake as baking
    from provision.machines import deadline

    price = f"{baking.monthly(baked):.2f}"
    made = deadline.clock(baked.created)
    return baked.id, cloud.region, baked.family, made, f"{baked.gb} GB", price, baked.state, baked.made_from


@ami.command()
@click.argument("image", metavar="ID", type=IMAGE)
@cloud_options
@dry_run_option
def rm(image: str, dry_run: bool, **flags: Any) -> None:
    """Delete the baked image ID and its snapshots, and prove that they are gone. Machines made from it run on."""
    from provision.machines import bake as baking

    here = clouds.session(**flags)
    found, errors = _all(here)
    for cloud, baked in found:
        if baked.id == image:
            things = ", ".join([baked.id, *baked.snapshots])
            if not dry_run:
                baking.remove(cloud, baked)
            console.say(f"{'would delete' if dry_run else 'gone:'} {things} in {cloud.region}")
            return
    if errors:
        raise errors[0]
    known = ", ".join(baked.id for _, baked in found)
    mend = f"there are: {known}" if known else f"there are none: {here.hint('ami ls')}"
    raise NotFoundError(f"no baked machine image {image!r}", mend)


def _all(here: Session) -> "tuple[list[tuple[Cloud, Baked]], list[ProvisionError]]":
    from functools import partial

    from infra.aws.machine_images import MachineImages
    from infra.concurrency import together

    def look(cloud: "Cloud") -> "list[tuple[Cloud, Baked]]":
        return [(cloud, baked) for baked in MachineImages(cloud).all()]

    found, errors = together([partial(look, cloud) for cloud in places(here)])
    return [pair for pairs in found for pair in pairs], errors
