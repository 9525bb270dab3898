"""`provision local …`: the embedded local cloud, a program of its own that is only called here."""

import json

import click

from infra.errors import CloudError, NotFoundError
from provision import clouds, console
from provision.commands.options import Command, dry_run_option


@click.group()
def local() -> None:
    """The embedded local cloud: an AWS emulator whose instances are system containers."""


def _name(command: Command) -> Command:
    return click.option("--name", default="default", help="which local cloud")(command)


def _running(name: str) -> list[str] | None:
    """Ids of its instances; None where it does not run. Looks only."""
    found = clouds.local("status", "--name", name, "--json", check=False)
    if found.code == CloudError.exit_code:
        return None
    if not found.ok:
        clouds.local("status", "--name", name)  # a name that cannot be: say so
    return [str(row["id"]) for row in json.loads(found.out)["instances"]]


@local.command()
@_name
@click.option("--retired", is_flag=True, help="without p2 and p3, as AWS is today")
@click.option("--bare", is_flag=True, help="Canonical's machine images have no Docker")
@dry_run_option
def start(name: str, retired: bool, bare: bool, dry_run: bool) -> None:
    """Start it, if it does not run."""
    if dry_run:
        runs = _running(name) is not None
        console.say(f"the local cloud {name} runs already" if runs else f"would start the local cloud {name}")
        return
    flags = [*(["--retired"] if retired else []), *(["--bare"] if bare else [])]
    facts = json.loads(clouds.local("start", "--name", name, *flags).out)
    console.say(f"the local cloud {name} answers at {facts['endpoint']}")


@local.command()
@_name
@dry_run_option
def stop(name: str, dry_run: bool) -> None:
    """End it with all its instances."""
    if dry_run:
        ids = _running(name)
        if ids is None:
            console.say(f"the local cloud {name} does not run; would remove what it left in Docker, if anything")
        else:
            console.say(f"would end the local cloud {name} and its instances: {', '.join(ids) or 'none'}")
        return
    console.say(clouds.local("stop", "--name", name).out.strip() or f"the local cloud {name} is stopped")


@local.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def status(name: str, as_json: bool) -> None:
    """What it runs."""
    console.say(clouds.local("status", "--name", name, *(["--json"] if as_json else [])).out.rstrip())


@local.command()
@click.option("--name", default=None, help="which local cloud (default: all whose daemon is dead)")
@dry_run_option
def sweep(name: str | None, dry_run: bool) -> None:
    """Remove what a crashed local cloud left: containers, volumes, networks."""
    if dry_run:
        whose = f"the local cloud {name}, unless it runs" if name else "every local cloud that does not run"
        console.say(f"would remove from Docker the containers, volumes and networks of {whose}")
        return
    console.say(clouds.local("sweep", *(["--name", name] if name else ["--all"])).out.rstrip())


@local.command()
@click.argument("instance_id")
@click.option("--notice", default=120.0, help="seconds between the announcement and the end")
@_name
@dry_run_option
def interrupt(instance_id: str, notice: float, name: str, dry_run: bool) -> None:
    """Announce a spot interruption to an instance, and end it when the notice is over."""
    if dry_run:
        if instance_id not in (_running(name) or []):
            raise NotFoundError(f"the local cloud {name} has no instance {instance_id}", "provision local status")
        console.say(f"would announce an interruption to {instance_id}, and end it {notice:g} s later")
        return
    clouds.local("interrupt", instance_id, "--notice", f"{notice:g}", "--name", name)
    console.say(f"{instance_id} has {notice:g} s left")
