"""`up`, `ls`, `ssh`, `put`, `forward`."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.aws.types import Instance
from infra.errors import UsageError
from provision import clouds, console, settings
from provision.commands.options import (
    cloud_options,
    dry_run_option,
    json_option,
    up_options,
    wish_of,
)

if TYPE_CHECKING:
    from infra.aws.session import Cloud


@click.command()
@up_options
@dry_run_option
@json_option
def up(dry_run: bool, as_json: bool, **given: Any) -> None:
    """Rent a machine and make it ready."""
    from provision import machines, planning, renting
    from provision.commands.request_table import show_request

    wish, flags = wish_of(given)
    chosen = settings.load(**flags)
    cloud = clouds.resolve(chosen)
    if dry_run:
        show_request(planning.plan(cloud, chosen, wish), as_json)
        return
    cloud, instance = renting.rent(cloud, chosen, wish, console.line)
    if as_json:
        console.emit_json(row(instance))
        return
    where = cloud_flag(at_home(chosen, cloud))
    console.say(f"{instance.name} is ready: {instance.type} {instance.market} in {instance.zone}{_price(instance)}")
    console.say(f"  it {machines.end_words(instance)}")
    console.say(f"  next: provision train digits --on {instance.name}{where}")
    console.say(f"  stop paying: provision down {instance.name}{where}")


def at_home(chosen: settings.Settings, cloud: "Cloud") -> settings.Settings:
    """The settings with the region that the machine is really in."""
    import msgspec

    return msgspec.structs.replace(chosen, region=cloud.region)


def cloud_flag(chosen: settings.Settings) -> str:
    """The flags that commands to copy need: what differs from the settings without any."""
    usual = settings.load()
    region = "" if chosen.region == usual.region else f" --region {chosen.region}"
    return ("" if chosen.cloud == "aws" else f" --cloud {chosen.cloud}") + region


def undo(cloud: "Cloud", name: str) -> bool:
    """End a machine that was rented for a training; whether it is ended."""
    from provision import renting

    return renting.undo(cloud, name, console.line)


def _price(instance: Instance) -> str:
    return "" if instance.price is None else f", at most ${instance.price:.3f}/h"


def row(instance: Instance) -> dict[str, Any]:
    """An instance as `ls --json` shows it; `price` is the most that an hour was expected to cost at launch."""
    from provision.box import noted

    return {
        "name": instance.name, "id": instance.id, "type": instance.type, "state": instance.state,
        "zone": instance.zone, "market": instance.market, "price": instance.price, "address": instance.address,
        "launched": instance.launched.isoformat(),
        "ends": instance.deadline.isoformat() if instance.deadline else None,
        "idle_minutes": instance.idle_minutes, "budget": instance.budget, "boxes": noted(instance.tags),
    }  # fmt: skip


@click.command()
@cloud_options
@json_option
def ls(as_json: bool, **flags: Any) -> None:
    """List the machines, of all regions that the settings or this laptop's notes name, and the boxes."""
    from functools import partial

    from infra.aws.ec2 import Ec2
    from infra.together import together
    from provision import machines

    chosen = settings.load(**flags)
    where = machines.places(clouds.resolve(chosen), chosen.more_regions)
    found, errors = together([partial(Ec2(place).instances) for place in where])
    known = [one for some in found for one in some]
    if as_json and not errors:
        console.emit_json([row(one) for one in known])
    elif known:
        columns = ("name", "id", "type", "state", "zone", "market", "price", "address", "ends")
        console.table("", columns, [_cells(one) for one in known])
    elif not errors:
        console.say(f"no machines in {where[0].name} {', '.join(place.region for place in where)}")
    if not as_json and (rows := _boxes(known)):
        console.table("boxes", ("name", "image", "on", "status"), rows)
    if errors:
        raise errors[0]


def _boxes(known: "list[Instance]") -> list[tuple[str, ...]]:
    """This laptop's, where it has an engine that answers, and those that the machines' tags tell of."""
    from infra.errors import ProvisionError
    from infra.shell import LocalShell
    from provision import box

    rows: list[tuple[str, ...]] = []
    with contextlib.suppress(ProvisionError):
        rows += [(one.name, one.image, "this laptop", one.status) for one in box.boxes(LocalShell())]
    return rows + [(name, image, one.name, "") for one in known for name, image in box.noted(one.tags).items()]


def _cells(one: Instance) -> list[object]:
    from provision import machines

    ends = f"{machines.clock(one.deadline)} unless extended" if one.deadline else "by no deadline of ours"
    price = "?" if one.price is None else f"${one.price:.3f}/h"
    return [one.name, one.id, one.type, one.state, one.zone, one.market, price, one.address, ends]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@cloud_options
def ssh(name: str, words: tuple[str, ...], **flags: Any) -> None:
    """Open a shell on NAME, or run a command there: provision ssh NAME -- nvidia-smi."""
    from infra.shell import exec_words, have
    from infra.ssh import ssh_words
    from provision import machines

    cloud = where_is(name, flags)
    instance = machines.find(cloud, name)
    if words:
        with machines.shell(cloud, instance) as host:
            line = ["sh", "-c", words[0]] if len(words) == 1 else words  # one word is a line for the shell, as with ssh
            result = host.run(line, check=False, on_line=click.echo)
        raise click.exceptions.Exit(result.code)
    if not have("ssh"):
        raise UsageError(
            "an interactive shell needs OpenSSH's ssh", "install openssh-client, or give a command after --"
        )
    exec_words(ssh_words(machines.address(cloud, instance)))


@click.command()
@click.argument("name")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target")
@cloud_options
@dry_run_option
def put(name: str, source: Path, target: str, dry_run: bool, **flags: Any) -> None:
    """Copy SOURCE (a file or folder) to TARGET on NAME: changed files only, .provisionignore respected."""
    from provision import machines, sync

    if not source.exists():
        raise UsageError(f"there is no {source}", "give a file or folder that exists")
    cloud = where_is(name, flags)
    with machines.shell(cloud, machines.find(cloud, name)) as host:
        if dry_run:
            names = [source.name] if source.is_file() else [one.path for one in sync.changes(host, source, target)]
            console.say("\n".join([f"would copy {len(names)} files to {target} on {name}", *names]))
            return
        if source.is_file():
            host.put(source, target)
            console.say(f"{source} is {target} on {name}")
            return
        sent = sync.sync(host, source, target)
    console.say(f"{sent.files} changed files, {console.size(sent.bytes)}, to {target} on {name}")


@click.command()
@click.argument("name")
@click.argument("port", type=int)
@click.option("--local-port", type=int, help="port of this laptop (default: the same)")
@cloud_options
def forward(name: str, port: int, local_port: int | None, **flags: Any) -> None:
    """Make PORT of NAME a port of this laptop, until Ctrl-C (Jupyter, TensorBoard)."""
    import signal

    from infra.ssh import free_port
    from provision import machines

    cloud = where_is(name, flags)
    here = local_port or port
    if not free_port(here):  # fabric would find out in a thread of its own, and say nothing
        raise UsageError(f"port {here} of this laptop is in use", "give another: --local-port PORT")
    with machines.shell(cloud, machines.find(cloud, name)) as host, host.forward(here, port):
        console.say(f"http://127.0.0.1:{here} is port {port} of {name}; Ctrl-C ends it")
        signal.pause()


def where_is(name: str, flags: dict[str, Any]) -> "Cloud":
    """The cloud, with the region that has the machine of that name."""
    from provision import machines

    chosen = settings.load(**flags)
    return machines.locate(clouds.resolve(chosen), name, chosen.more_regions)
