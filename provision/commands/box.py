"""`provision box …`: development containers that stay, here or on a machine."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console, settings
from provision.commands.options import Command, cloud_options, dry_run_option, json_option
from provision.lazy import Lazy

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from infra.aws.types import Instance
    from infra.shell import Shell

_HERE = "provision.commands.box"
_COMMANDS = {
    "up": (_HERE, "make a box from an image"),
    "exec": (_HERE, "go into a box, or run a command there"),
    "stop": (_HERE, "stop a box; what is in it stays"),
    "start": (_HERE, "start a stopped box"),
    "commit": (_HERE, "keep a box's file system as an image"),
    "rm": (_HERE, "remove a box"),
    "ls": (_HERE, "list the boxes of this laptop or of a machine"),
}


@click.group(cls=Lazy, table=_COMMANDS)
def box() -> None:
    """A development container that stays: your files, your uid, GPUs, any of our images."""


def _where(command: Command) -> Command:
    command = cloud_options(command)
    return click.option("--on", "machine", help="a machine that runs (default: this laptop)")(command)


@contextmanager
def _host(machine: str | None, flags: dict[str, Any]) -> "Iterator[tuple[Shell, Cloud | None, Instance | None]]":
    """The laptop, or a machine of that name."""
    from infra.shell import LocalShell
    from provision import machines

    if machine is None:
        yield LocalShell(), None, None
        return
    chosen = settings.load(**flags)
    cloud = machines.locate(clouds.resolve(chosen), machine, chosen.more_regions)
    instance = machines.find(cloud, machine)
    with machines.shell(cloud, instance) as shell:
        yield shell, cloud, instance


@click.command()
@click.argument("name")
@click.option("--image", default="caffe-debian", show_default=True, help="a target (STACK:ROW), or an image's tag")
@click.option("--gpus", type=click.IntRange(min=0), help="how many GPUs (default: all of the host's)")
@click.option("--volume", "volumes", multiple=True, metavar="SOURCE:TARGET[:ro]", help="a folder of the host")
@click.option("--port", "ports", multiple=True, metavar="[HERE:]PORT", help="a port of the box, on 127.0.0.1")
@click.option("--x11", is_flag=True, help="windows on this laptop's display (default: plots go to files)")
@click.option("--swap", type=click.IntRange(0, 64), metavar="GB", help="on a machine: GB of swap (default: 4 on small)")
@_where
@dry_run_option
def up(name: str, image: str, x11: bool, swap: int | None, machine: str | None, dry_run: bool, **given: Any) -> None:
    """Make the box NAME and start it."""
    from infra.shell import quote
    from provision import box as boxes
    from provision import facts

    asked = {key: given.pop(key) for key in ("gpus", "volumes", "ports")}
    if x11 and machine:
        raise UsageError("--x11 shows windows on this laptop; the box is on a machine", "leave one of them out")
    with _host(machine, given) as (shell, cloud, instance):
        found = facts.look(shell)
        spec = _spec(name, _image(shell, image, dry_run), found, x11, asked)
        if dry_run:
            console.say(quote(boxes.run_words(spec)))
            return
        if instance is not None:
            _give_swap(shell, swap)
        boxes.start(shell, spec)
        if cloud is not None and instance is not None:
            _note(cloud, instance, name, spec.image)
    on = f" --on {machine}" if machine else ""
    console.say(f"the box {name} runs {spec.image}")
    console.say(f"  go in: provision box exec {name}{on}")
    if machine:
        console.line(f"{machine} ends at its deadline and when it is idle; what is to stay: box commit, or a --volume")


def _display_now() -> Any:
    """This laptop's display; None where there is none just now (one came in by ssh)."""
    from provision import xdisplay

    try:
        return xdisplay.find(os.environ, Path.home())
    except UsageError:
        return None


def _spec(name: str, image: str, found: Any, x11: bool, asked: dict[str, Any]) -> Any:
    from provision import box as boxes
    from provision import facts, xdisplay

    have = [gpu.index for gpu in found.gpus]
    wanted = len(have) if asked["gpus"] is None else asked["gpus"]
    if wanted > len(have):
        raise UsageError(f"there are {len(have)} GPUs, not {wanted}", f"ask for --gpus {len(have)}, or for less")
    request = facts.gpu_request(found, tuple(have[:wanted]))
    display = xdisplay.find(os.environ, Path.home()) if x11 else None
    return boxes.BoxSpec(
        name, image, f"{found.uid}:{found.gid}", boxes.gpu_words(request.indices, request.runtime),
        tuple(_absolute(one) for one in asked["volumes"]), tuple(asked["ports"]), display,
    )  # fmt: skip


def _absolute(volume: str) -> str:
    """`.:/work` and `~/data:/data` with the folder's full path; Docker takes no other."""
    source, colon, rest = volume.partition(":")
    return f"{Path(source).expanduser().resolve()}{colon}{rest}" if source.startswith((".", "~")) else volume


def _image(shell: "Shell", words: str, dry_run: bool) -> str:
    """The image's tag: as it is at that engine, else a target's, built or sent there."""
    from infra import buildx
    from provision import runimage

    if buildx.inspect(shell, words) is not None:
        return words
    if dry_run:
        return runimage.planned(words).tag
    return runimage.at(shell, words).tag


def _give_swap(shell: "Shell", gb: int | None) -> None:
    """What was asked for; without a word, 4 GB where the machine has less than 8 GB of memory and no swap."""
    from infra.errors import HostError
    from provision import box as boxes

    if gb is None:
        memory = shell.run(
            ["awk", "/^(MemTotal|SwapTotal):/ { sum += $2 } END { print int(sum / 1048576) }", "/proc/meminfo"]
        )
        gb = 4 if int(memory.out) < 8 else None
    if gb is None:
        return
    try:
        console.line(f"  {boxes.swap(shell, gb)}")
    except HostError as error:
        console.line(f"  no swap: {error.what}")


def _note(cloud: "Cloud", instance: "Instance", name: str, image: str) -> None:
    """The machine's tag that tells `ls` of the box; an empty one says that it is gone."""
    from infra.aws.ec2 import Ec2
    from provision.box import TAG

    Ec2(cloud).tag(instance.id, {f"{TAG}{name}": image})


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--root", is_flag=True, help="as root: to install packages")
@_where
def exec(name: str, words: tuple[str, ...], root: bool, machine: str | None, **flags: Any) -> None:
    """Go into the box NAME, or run a command there: provision box exec NAME -- python3 train.py."""
    from infra.shell import exec_words
    from provision import box as boxes

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with _host(machine, flags) as (shell, cloud, instance):
        if boxes.get(shell, name).status != "running":
            raise UsageError(f"the box {name} is stopped", f"start it: provision box start {name}")
        line = boxes.exec_words(name, words, root=root, terminal=terminal)
        if not terminal:
            raise click.exceptions.Exit(shell.run(line, check=False, on_line=click.echo).code)
    if cloud is not None and instance is not None:
        from infra.ssh import ssh_words
        from provision import machines

        reach = ssh_words(machines.address(cloud, instance), line)
        exec_words([reach[0], "-t", *reach[1:]])
    exec_words(line)


@click.command()
@click.argument("name")
@_where
@dry_run_option
def stop(name: str, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Stop the box NAME; what is in it stays."""
    from provision import box as boxes

    with _host(machine, flags) as (shell, _, _instance):
        status = boxes.get(shell, name).status
        if not dry_run:
            boxes.sleep(shell, name)
    console.say(f"{'would stop' if dry_run else 'stopped'} {name}, which was {status}")


@click.command()
@click.argument("name")
@_where
@dry_run_option
def start(name: str, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Start the box NAME where it was stopped."""
    from provision import box as boxes

    with _host(machine, flags) as (shell, _, _instance):
        status = boxes.get(shell, name).status
        if not dry_run:
            boxes.wake(shell, name, None if machine else _display_now())
    console.say(f"{'would start' if dry_run else 'started'} {name}, which was {status}")


@click.command()
@click.argument("name")
@click.argument("tag")
@_where
@dry_run_option
def commit(name: str, tag: str, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Keep the box's file system as the image TAG; its home and volumes are not part of it."""
    from provision import box as boxes

    with _host(machine, flags) as (shell, _, _instance):
        boxes.get(shell, name)
        digest = "" if dry_run else boxes.commit(shell, name, tag)
    on = f" --on {machine}" if machine else ""
    console.say(f"would make {tag}" if dry_run else f"{tag} is {digest[:19]}")
    console.say(f"  next: provision box up NAME --image {tag}{on}")


@click.command()
@click.argument("name")
@click.option("--keep-home", is_flag=True, help="a new box of the name finds its home again")
@_where
@dry_run_option
def rm(name: str, keep_home: bool, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Remove the box NAME, and its home."""
    from provision import box as boxes

    what = name if keep_home else f"{name} and its home"
    with _host(machine, flags) as (shell, cloud, instance):
        boxes.get(shell, name)
        if dry_run:
            console.say(f"would remove {what}")
            return
        boxes.remove(shell, name, keep_home)
        if cloud is not None and instance is not None:
            _note(cloud, instance, name, "")
    console.say(f"removed {what}")


@click.command()
@_where
@json_option
def ls(machine: str | None, as_json: bool, **flags: Any) -> None:
    """List the boxes."""
    from provision import box as boxes

    with _host(machine, flags) as (shell, _, _instance):
        found = boxes.boxes(shell)
    if as_json:
        console.emit_json([vars(one) for one in found])
    elif found:
        columns = ("name", "image", "status", "created", "ports")
        console.table("", columns, [[vars(one)[column] for column in columns] for one in found])
    else:
        console.say(f"no boxes on {machine or 'this laptop'}: provision box up NAME --image STACK")
