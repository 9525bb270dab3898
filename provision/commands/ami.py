"""`provision ami …`: machine images of prepared hosts, for quicker starts."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from infra.errors import NotFoundError, ProvisionError
from provision import clouds, console, settings
from provision.commands.options import cloud_options, dry_run_option, json_option

if TYPE_CHECKING:
    from infra.aws.machine_images import Baked, ImageRequest
    from infra.aws.session import Cloud


@click.group()
def ami() -> None:
    """Bake machine images of prepared hosts: later machines of that GPU family start from them."""


@ami.command()
@click.argument("name")
@cloud_options
@dry_run_option
@json_option
def bake(name: str, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Make a machine image of NAME, and end NAME.

    The image has what is installed there (Docker, driver, NVIDIA's toolkit, images) and what you put into /home and
    /data; no keys, no trainings and none of their data. The machine is restarted for it, also a spot machine, and is
    of no more use: it is ended. It must not be training.
    """
    from provision import baking, ending, machines

    chosen = settings.load(**flags)
    cloud = machines.locate(clouds.resolve(chosen), name, chosen.more_regions)
    with machines.locked(cloud, name):
        with machines.shell(cloud, instance := machines.find(cloud, name)) as host:
            request = baking.plan(cloud, instance, host)
            if dry_run:
                _show_request(request, as_json)
                return
            made = baking.bake(cloud, request, host, console.line)
        if not as_json:
            _show_made(made)
        ended = ending.down(cloud, name, console.line)
    if as_json:
        console.emit_json({**row(cloud, made), "ended": ended.as_json()})
        return
    for line in ended.words():
        console.say(line)


def _show_request(request: "ImageRequest", as_json: bool) -> None:
    from provision import baking

    if as_json:
        console.emit_json(dataclasses.asdict(request))
        return
    console.say(f"would restart {request.name}, make a machine image of it for {_family(request.family)}, and end it")
    console.say(f"  {_size(request.gb, baking.monthly(request))}; from {request.made_from}")
    for device in request.left_out:
        console.say(f"  without the volume at {device}")


def _show_made(made: "Baked") -> None:
    from provision import baking

    console.say(f"{made.id} is there, for {_family(made.family)}: {_size(made.gb, baking.monthly(made))}")
    console.say(f"  each later `provision up` of these uses it; delete it: provision ami rm {made.id}")


def _family(family: str) -> str:
    return "machines without a GPU" if family == "none" else f"{family} GPUs and others with the same driver"


def _size(gb: int, monthly: float) -> str:
    from infra.aws import prices

    return f"{gb} GB, at most ${monthly:.2f} a month (prices of {prices.table().date})"


@ami.command()
@cloud_options
@json_option
def ls(as_json: bool, **flags: Any) -> None:
    """List the images that were baked, newest first, in each region that `provision ls` lists."""
    found, errors = _all(flags)
    if as_json and not errors:
        console.emit_json([row(cloud, one) for cloud, one in found])
    elif found:
        columns = ("image", "region", "family", "created", "size", "$/month", "state", "from")
        console.table("", columns, [_cells(cloud, one) for cloud, one in found])
    elif not errors:
        console.say("no baked machine images: `provision ami bake NAME` makes one")
    if errors:
        raise errors[0]


def row(cloud: "Cloud", one: "Baked") -> dict[str, Any]:
    """An image as `ami ls --json` shows it; the price in US dollars."""
    from provision import baking

    return {**dataclasses.asdict(one), "region": cloud.region, "dollars_a_month": round(baking.monthly(one), 2)}


def _cells(cloud: "Cloud", one: "Baked") -> tuple[object, ...]:
    from provision import baking, machines

    price = f"{baking.monthly(one):.2f}"
    made = machines.clock(one.created)
    return one.id, cloud.region, one.family, made, f"{one.gb} GB", price, one.state, one.made_from


@ami.command()
@click.argument("image", metavar="ID")
@cloud_options
@dry_run_option
def rm(image: str, dry_run: bool, **flags: Any) -> None:
    """Delete the baked image ID and its snapshots, and prove them gone. Machines that run from it run on."""
    from provision import baking

    found, errors = _all(flags)
    for cloud, one in found:
        if one.id == image:
            things = ", ".join([one.id, *one.snapshots])
            if not dry_run:
                baking.remove(cloud, one)
            console.say(f"{'would delete' if dry_run else 'gone:'} {things} in {cloud.region}")
            return
    if errors:
        raise errors[0]
    known = ", ".join(one.id for _, one in found)
    raise NotFoundError(
        f"no baked machine image {image!r}", f"there are: {known}" if known else "there are none: provision ami ls"
    )


def _all(flags: dict[str, Any]) -> "tuple[list[tuple[Cloud, Baked]], list[ProvisionError]]":
    from functools import partial

    from infra.aws.machine_images import MachineImages
    from infra.together import together
    from provision import machines

    def look(cloud: "Cloud") -> "list[tuple[Cloud, Baked]]":
        return [(cloud, one) for one in MachineImages(cloud).all()]

    chosen = settings.load(**flags)
    where = machines.places(clouds.resolve(chosen), chosen.more_regions)
    found, errors = together([partial(look, cloud) for cloud in where])
    return [one for some in found for one in some], errors
