"""`up`, `ls`, `ssh`, `put`, `forward`, `down`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.aws.types import Instance, SpotRequest
from infra.errors import NotFoundError, UsageError
from provision import clouds, console, settings
from provision.commands.options import cloud_options, dry_run_option, json_option, machine_options

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from provision.planning import Wish


@click.command()
@click.option("--instance", "kind", required=True, help="instance type, such as p3.8xlarge")
@click.option("--name", default=None, help="what to call it (default: from the type)")
@machine_options
@cloud_options
@dry_run_option
@json_option
def up(kind: str, name: str | None, spot: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Rent a machine and make it ready."""
    from provision import planning

    chosen = settings.load(**flags)
    cloud = clouds.resolve(chosen)
    wish = planning.Wish(name or kind.replace(".", "-"), kind, "spot" if spot else "on-demand")
    if dry_run:
        show_request(planning.plan(cloud, chosen, wish), as_json)
        return
    instance = rent(cloud, chosen, wish)
    if as_json:
        console.emit_json(row(instance))
        return
    console.say(f"{instance.name} is ready: {instance.type} {instance.market} in {instance.zone}")
    console.say(f"  next: provision train digits --on {instance.name}{cloud_flag(chosen)}")
    console.say(f"  stop paying: provision down {instance.name}{cloud_flag(chosen)}")


def cloud_flag(chosen: settings.Settings) -> str:
    """The flag that commands to copy need."""
    return "" if chosen.cloud == "aws" else f" --cloud {chosen.cloud}"


def rent(cloud: "Cloud", chosen: settings.Settings, wish: "Wish") -> Instance:
    """The machine of that name, ready: the one that is there, or a new one.

    Whatever ends a launch early means stop paying: what was begun is ended. A machine that was there stays.
    """
    from provision import machines, planning

    with machines.locked(cloud, wish.name):
        there = machines.living(cloud, wish.name, wish.type)
        if there is not None:
            return machines.rejoin(cloud, there, console.line)
        request = planning.plan(cloud, chosen, wish)
        try:
            return machines.up(cloud, request, console.line)
        except BaseException:
            console.line("stopping: ending what was begun")
            undo(cloud, wish.name)
            raise


def undo(cloud: "Cloud", name: str) -> bool:
    """End a machine whatever state it is in; nothing there is as good. Never hides the error that led here.

    Whether it is ended; where not, that is said.
    """
    from provision import ending

    try:
        ending.down(cloud, name, console.line)
    except NotFoundError:
        pass
    except BaseException as error:
        console.line(f"{name} was NOT ended ({error}); it may be billed until its deadline: provision down {name}")
        return False
    console.line(f"nothing of {name} is left")
    return True


def show_request(request: SpotRequest, as_json: bool) -> None:
    """The resolved value, for people or programs."""
    if as_json:
        console.emit_json(dataclasses.asdict(request))
        return
    kind = request.instance_type
    gpus = f"{kind.gpus} × {kind.gpu} ({kind.gpu_memory_mib} MiB)" if kind.gpus else "none"
    rows = [
        ("name", request.name),
        ("type", f"{kind.name}: {kind.vcpus} vCPUs, {kind.memory_mib // 1024} GiB"),
        ("GPUs", gpus),
        ("market", request.market + (f", at most ${request.max_price}/h" if request.max_price else "")),
        *((f"zone {n}", f"{p.zone}: {price(p.price)}") for n, p in enumerate(request.places, 1)),
        ("image", request.image),
        ("disk", f"{request.disk_gb} GB gp3, encrypted, deleted with the machine"),
        ("ends", f"by itself after {request.max_hours:g} hours"),
        ("SSH", f"from {request.address} alone"),
    ]
    console.table(f"would ask {request.cloud} {request.region} for", ("what", "value"), rows)


def price(dollars: float | None) -> str:
    return "price unknown" if dollars is None else f"${dollars:.3f}/h spot now"


def row(instance: Instance) -> dict[str, Any]:
    """An instance as `ls --json` shows it."""
    return {
        "name": instance.name, "id": instance.id, "type": instance.type, "state": instance.state,
        "zone": instance.zone, "market": instance.market, "address": instance.address,
        "launched": instance.launched.isoformat(),
        "ends": instance.deadline.isoformat() if instance.deadline else None,
    }  # fmt: skip


@click.command()
@cloud_options
@json_option
def ls(as_json: bool, **flags: Any) -> None:
    """List the machines."""
    from infra.aws.ec2 import Ec2

    cloud = clouds.resolve(settings.load(**flags))
    rows = [row(one) for one in Ec2(cloud).instances()]
    if as_json:
        console.emit_json(rows)
    elif not rows:
        console.say(f"no machines in {cloud.name} {cloud.region}")
    else:
        columns = ("name", "id", "type", "state", "zone", "market", "address", "ends")
        console.table("", columns, [[one[column] for column in columns] for one in rows])


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@cloud_options
def ssh(name: str, words: tuple[str, ...], **flags: Any) -> None:
    """Open a shell on NAME, or run a command there: provision ssh NAME -- nvidia-smi."""
    from infra.shell import exec_words, have
    from infra.ssh import ssh_words
    from provision import machines

    cloud = clouds.resolve(settings.load(**flags))
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
    cloud = clouds.resolve(settings.load(**flags))
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

    from provision import machines

    cloud = clouds.resolve(settings.load(**flags))
    here = local_port or port
    _check_free(here)
    with machines.shell(cloud, machines.find(cloud, name)) as host, host.forward(here, port):
        console.say(f"http://127.0.0.1:{here} is port {port} of {name}; Ctrl-C ends it")
        signal.pause()


def _check_free(port: int) -> None:
    """fabric would find out in a thread of its own, and say nothing."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"port {port} of this laptop is in use", "give another: --local-port PORT") from error


@click.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="everything of ours in this region")
@cloud_options
@dry_run_option
@json_option
def down(name: str | None, everything: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """End NAME (or all) with all that belongs to it, and prove that nothing is left."""
    from provision import ending

    if bool(name) == everything:
        raise UsageError("say what to end", "provision down NAME, or provision down --all")
    cloud = clouds.resolve(settings.load(**flags))
    if dry_run:
        found = ending.everything(cloud, name)
    else:
        found = ending.down(cloud, name, console.line)
    if as_json:
        console.emit_json(found)
        return
    rows = [(kind, len(ids), ", ".join(ids)) for kind, ids in found.items()]
    console.table("would end" if dry_run else "ended", ("what", "count", "which"), rows)
    if not dry_run:
        console.say("proven: nothing of it is left, nothing is billed")
