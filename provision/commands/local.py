"""`provision local …`: the embedded local cloud, a program of its own that is only called here."""

import json

import click

from provision import clouds, console
from provision.commands.options import Command


@click.group()
def local() -> None:
    """The embedded local cloud: an AWS emulator whose instances are system containers."""


def _name(command: Command) -> Command:
    return click.option("--name", default="default", help="which local cloud")(command)


@local.command()
@_name
def start(name: str) -> None:
    """Start it, if it does not run."""
    facts = json.loads(clouds.local("start", "--name", name).out)
    console.say(f"the local cloud {name} answers at {facts['endpoint']}")


@local.command()
@_name
def stop(name: str) -> None:
    """End it with all its instances."""
    console.say(clouds.local("stop", "--name", name).out.strip() or f"the local cloud {name} is stopped")


@local.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def status(name: str, as_json: bool) -> None:
    """What it runs."""
    console.say(clouds.local("status", "--name", name, *(["--json"] if as_json else [])).out.rstrip())


@local.command()
@click.option("--name", default=None, help="which local cloud (default: all whose daemon is dead)")
def sweep(name: str | None) -> None:
    """Remove what a crashed local cloud left: containers, volumes, networks."""
    console.say(clouds.local("sweep", *(["--name", name] if name else ["--all"])).out.rstrip())


@local.command()
@click.argument("instance_id")
@click.option("--notice", default=120.0, help="seconds between the announcement and the end")
@_name
def interrupt(instance_id: str, notice: float, name: str) -> None:
    """Announce a spot interruption to an instance, and end it when the notice is over."""
    clouds.local("interrupt", instance_id, "--notice", f"{notice:g}", "--name", name)
    console.say(f"{instance_id} has {notice:g} s left")
