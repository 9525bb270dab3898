"""`provision box …`: development containers that stay, here or on a machine."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import console
from provision.commands.options import BOX, MACHINE, Command, cloud_options, dry_run_option, json_option
from provision.commands.session import Machine
from provision.commands.session import machine as find_machine
from provision.lazy import Lazy

if TYPE_CHECKING:
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
    """Keep a development container: any of our images, with your files, your uid and GPUs."""


def _where(command: Command) -> Command:
    command = cloud_options(command)
    return click.option(
        "--on", "machine", type=MACHINE, help="use this machine, which runs already (default: this laptop)"
    )(command)


@contextmanager
def _host(machine: str | None, flags: dict[str, Any]) -> "Iterator[tuple[Shell, Machine | None]]":
    """A shell on the laptop, or on the machine of that name."""
    from infra.shell import LocalShell

    if machine is None:
        yield LocalShell(), None
        return
    there = find_machine(machine, flags)
    with there.shell() as shell:
        yield shell, there


def _hint(there: Machine | None, command: str) -> str:
    """The command about a box, with the flags that lead to its machine."""
    return there.session.hint(f"{command} --on {there.instance.name}") if there else f"provision {command}"


@click.command()
@click.argument("name", type=BOX)
@click.option("--image", default="caffe-debian", show_default=True, help="a target (STACK:ROW), or an image's tag")
@click.option("--gpus", type=click.IntRange(min=0), help="the number of GPUs (default: all of the host's)")
@click.option(
    "--volume", "volumes", multiple=True, metavar="SOURCE:TARGET[:ro]", help="mount a folder of the host in the box"
)
@click.option("--port", "ports", multiple=True, metavar="[HERE:]PORT", help="publish a port of the box on 127.0.0.1")
@click.option("--x11", is_flag=True, help="show windows on this laptop's display (default: plots go to files)")
@click.option(
    "--swap",
    type=click.IntRange(0, 64),
    metavar="GB",
    help="give the machine this much swap, in GB (default: 4 where it has less than 8 GB of RAM and no swap)",
)
@_where
@dry_run_option
def up(name: str, image: str, x11: bool, swap: int | None, machine: str | None, dry_run: bool, **given: Any) -> None:
    """Make the box NAME and start it."""
    from infra.shell import quote
    from provision.hosts import box as boxes
    from provision.hosts import facts

    asked = {key: given.pop(key) for key in ("gpus", "volumes", "ports")}
    if x11 and machine:
        raise UsageError("--x11 shows windows on this laptop; the box is on a machine", "leave out --x11 or --on")
    with _host(machine, given) as (shell, there):
        found = facts.look(shell)
        spec = _spec(name, _image(shell, image, dry_run), found, x11, asked)
        if dry_run:
            console.say(quote(boxes.start_words(spec)))
            return
        if there is not None:
            _give_swap(shell, swap)
        boxes.start(shell, spec)
        if there is not None:
            _note(there, name, spec.image)
    console.say(f"the box {name} runs {spec.image}")
    console.say(f"  go in: {_hint(there, f'box exec {name}')}")
    if machine:
        console.line(
            f"{machine} ends at its deadline and when it is idle; to keep files, use `box commit` or a --volume"
        )


def _display_now() -> Any:
    """This laptop's display; None where there is none at the moment, as in a session by ssh."""
    from provision.hosts import x_display

    try:
        return x_display.find(os.environ, Path.home())
    except UsageError:
        return None


def _spec(name: str, image: str, found: Any, x11: bool, asked: dict[str, Any]) -> Any:
    from provision.hosts import box as boxes
    from provision.hosts import facts, x_display

    have = [gpu.index for gpu in found.gpus]
    wanted = len(have) if asked["gpus"] is None else asked["gpus"]
    if wanted > len(have):
        raise UsageError(f"there are {len(have)} GPUs, not {wanted}", f"ask for --gpus {len(have)}, or for fewer")
    request = facts.gpu_request(found, tuple(have[:wanted]))
    display = x_display.find(os.environ, Path.home()) if x11 else None
    return boxes.BoxSpec(
        name, image, f"{found.uid}:{found.gid}", request,
        tuple(_absolute(volume) for volume in asked["volumes"]), tuple(asked["ports"]), display,
    )  # fmt: skip


def _absolute(volume: str) -> str:
    """`.:/work` and `~/data:/data` with the folder's full path; Docker takes no other."""
    source, colon, rest = volume.partition(":")
    return f"{Path(source).expanduser().resolve()}{colon}{rest}" if source.startswith((".", "~")) else volume


def _image(shell: "Shell", words: str, dry_run: bool) -> str:
    """The image's tag. It is one that the engine has, or a target's, whose image is built or sent there."""
    from infra import buildx
    from provision.hosts import image as runimage

    if buildx.inspect(shell, words) is not None:
        return words
    if dry_run:
        return runimage.planned(words).tag
    return runimage.at(shell, words).tag


def _give_swap(shell: "Shell", gb: int | None) -> None:
    """Give the machine the swap that was asked for; unasked, 4 GB where it has less than 8 GB of memory and no swap."""
    from infra.errors import HostError
    from provision.hosts import box as boxes

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


def _note(there: Machine, name: str, image: str) -> None:
    """Set the machine's tag that tells `ls` of the box; an empty tag says that the box is gone."""
    from infra.aws.ec2 import Ec2
    from provision.hosts.box import TAG

    Ec2(there.session.cloud).tag(there.instance.id, {f"{TAG}{name}": image})


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", type=BOX)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--root", is_flag=True, help="run as root, for example to install packages")
@_where
def exec(name: str, words: tuple[str, ...], root: bool, machine: str | None, **flags: Any) -> None:
    """Open a shell in the box NAME, or run a command there: provision box exec NAME -- python3 train.py."""
    from infra.shell import exec_words
    from provision.hosts import box as boxes

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with _host(machine, flags) as (shell, there):
        if boxes.get(shell, name).status != "running":
            raise UsageError(f"the box {name} is stopped", f"start it: {_hint(there, f'box start {name}')}")
        line = boxes.exec_words(name, words, root=root, terminal=terminal)
        if not terminal:
            raise click.exceptions.Exit(shell.run(line, check=False, on_line=console.say).code)
    if there is not None:
        from infra.address import ssh_words
        from provision.machines import login

        reach = ssh_words(login.address(there.session.cloud, there.instance), line)
        exec_words([reach[0], "-t", *reach[1:]])
    exec_words(line)


@click.command()
@click.argument("name", type=BOX)
@_where
@dry_run_option
def stop(name: str, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Stop the box NAME; its files stay."""
    from provision.hosts import box as boxes

    with _host(machine, flags) as (shell, _):
        status = boxes.get(shell, name).status
        if not dry_run:
            boxes.sleep(shell, name)
    console.say(f"{'would stop' if dry_run else 'stopped'} {name}, which was {status}")


@click.command()
@click.argument("name", type=BOX)
@_where
@dry_run_option
def start(name: str, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Start the box NAME again after it was stopped."""
    from provision.hosts import box as boxes

    with _host(machine, flags) as (shell, _):
        status = boxes.get(shell, name).status
        if not dry_run:
            boxes.wake(shell, name, None if machine else _display_now())
    console.say(f"{'would start' if dry_run else 'started'} {name}, which was {status}")


@click.command()
@click.argument("name", type=BOX)
@click.argument("tag")
@_where
@dry_run_option
def commit(name: str, tag: str, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Save the box's file system as the image TAG, without its home and volumes."""
    from provision.hosts import box as boxes

    with _host(machine, flags) as (shell, there):
        boxes.get(shell, name)
        digest = "" if dry_run else boxes.commit(shell, name, tag)
    console.say(f"would make {tag}" if dry_run else f"{tag} is {digest[:19]}")
    console.say(f"  next: {_hint(there, f'box up NAME --image {tag}')}")


@click.command()
@click.argument("name", type=BOX)
@click.option("--keep-home", is_flag=True, help="keep the home folder for a later box of the same name")
@_where
@dry_run_option
def rm(name: str, keep_home: bool, machine: str | None, dry_run: bool, **flags: Any) -> None:
    """Remove the box NAME, and its home."""
    from provision.hosts import box as boxes

    what = name if keep_home else f"{name} and its home"
    with _host(machine, flags) as (shell, there):
        boxes.get(shell, name)
        if dry_run:
            console.say(f"would remove {what}")
            return
        boxes.remove(shell, name, keep_home)
        if there is not None:
            _note(there, name, "")
    console.say(f"removed {what}")


@click.command()
@_where
@json_option
def ls(machine: str | None, as_json: bool, **flags: Any) -> None:
    """List the boxes."""
    from provision.hosts import box as boxes

    with _host(machine, flags) as (shell, there):
        found = boxes.boxes(shell)
    if as_json:
        console.emit_json([vars(entry) for entry in found])
    elif found:
        columns = ("name", "image", "status", "created", "ports")
        console.table("", columns, [[vars(entry)[column] for column in columns] for entry in found])
    else:
        console.say(f"no boxes on {machine or 'this laptop'}: {_hint(there, 'box up NAME --image STACK')}")
