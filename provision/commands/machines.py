"""`up`, `ls`, `ssh`, `put`, `forward`."""

from pathlib import Path
from typing import Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands import machine_tables as tables
from provision.commands.options import (
    MACHINE,
    PATH,
    PORT,
    cloud_options,
    dry_run_option,
    json_option,
    up_options,
    wish_of,
)
from provision.commands.session import machine, places


@click.command()
@up_options
@dry_run_option
@json_option
def up(dry_run: bool, as_json: bool, **given: Any) -> None:
    """Rent a machine and make it ready."""
    from provision.commands.request_table import show_request
    from provision.machines import deadline, rent
    from provision.offers import plan

    wish, flags = wish_of(given)
    here = clouds.session(**flags)
    if dry_run:
        show_request(plan.plan(here, wish), as_json)
        return
    cloud, instance = rent.rent(here, wish)
    if as_json:
        console.emit_json(tables.row(instance))
        return
    there = here.at(cloud)
    console.say(
        f"{instance.name} is ready: {instance.type} {instance.market} in {instance.zone}{tables.price(instance)}"
    )
    console.say(f"  it {deadline.end_words(cloud, instance)}")
    console.say(f"  next: {there.hint(f'train digits --on {instance.name}')}")
    console.say(f"  stop paying: {there.hint(f'down {instance.name}')}")


@click.command()
@cloud_options
@json_option
def ls(as_json: bool, **flags: Any) -> None:
    """List the boxes, and the machines of all regions that the settings or this laptop's notes name."""
    from functools import partial

    from infra.aws.ec2 import Ec2
    from infra.concurrency import together
    from provision.machines.finish import finish

    where = places(clouds.session(**flags))
    for place in where:
        finish(place, console.line)
    found, errors = together([partial(Ec2(place).instances) for place in where])
    known = [instance for instances in found for instance in instances]
    silent = tables.silent(where) if known else {}
    if as_json and not errors:
        console.emit_json([tables.row(instance, silent.get(instance.id)) for instance in known])
    elif known:
        console.table("", *tables.machines(known, silent))
    elif not errors:
        console.say(f"no machines in {where[0].name} {', '.join(place.region for place in where)}")
    if not as_json and (rows := tables.boxes(known)):
        console.table("boxes", ("name", "image", "on", "status"), rows)
    if errors:
        raise errors[0]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", type=MACHINE)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@cloud_options
def ssh(name: str, words: tuple[str, ...], **flags: Any) -> None:
    """Open a shell on NAME, or run a command there: provision ssh NAME -- nvidia-smi."""
    from infra.address import ssh_words
    from infra.shell import exec_words, have
    from provision.machines import login

    there = machine(name, flags)
    if words:
        with there.shell() as host:
            line = ["sh", "-c", words[0]] if len(words) == 1 else words  # one word is a line for the shell, as with ssh
            result = host.run(line, check=False, on_line=console.say)
        raise click.exceptions.Exit(result.code)
    if not have("ssh"):
        raise UsageError(
            "an interactive shell needs OpenSSH's ssh", "install openssh-client, or give a command after --"
        )
    exec_words(ssh_words(login.address(there.session.cloud, there.instance)))


@click.command()
@click.argument("name", type=MACHINE)
@click.argument("source", type=PATH)
@click.argument("target")
@cloud_options
@dry_run_option
def put(name: str, source: Path, target: str, dry_run: bool, **flags: Any) -> None:
    """Copy the changed files of SOURCE (a file or folder) to TARGET on NAME, without those of .provisionignore."""
    from provision.files import to_host

    if not source.exists():
        raise UsageError(f"there is no {source}", "give a file or folder that exists")
    with machine(name, flags).shell() as host:
        if dry_run:
            names = (
                [source.name] if source.is_file() else [entry.path for entry in to_host.changes(host, source, target)]
            )
            console.say("\n".join([f"would copy {len(names)} files to {target} on {name}", *names]))
            return
        if source.is_file():
            host.put(source, target)
            console.say(f"{source} is {target} on {name}")
            return
        sent = to_host.sync(host, source, target)
    console.say(f"{sent.files} changed files, {console.size(sent.bytes)}, to {target} on {name}")


@click.command()
@click.argument("name", type=MACHINE)
@click.argument("port", type=PORT)
@click.option("--local-port", type=PORT, help="the port of this laptop (default: the same number)")
@cloud_options
def forward(name: str, port: int, local_port: int | None, **flags: Any) -> None:
    """Forward PORT of NAME to this laptop until Ctrl-C, for Jupyter or TensorBoard."""

    here = local_port or port
    with machine(name, flags).shell() as host, host.forward(here, port) as wait:
        console.say(f"http://127.0.0.1:{here} is port {port} of {name}; Ctrl-C ends it")
        wait()
