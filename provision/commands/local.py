"""`provision local …`: the embedded local cloud, a program of its own that is only called here."""

import json

import click

from infra.errors import CloudError, NotFoundError
from provision import clouds, console
from provision.commands.options import INSTANCE, LOCAL, Command, dry_run_option


@click.group()
def local() -> None:
    """Run the embedded local cloud: an AWS emulator whose instances are system containers."""


def _name(command: Command) -> Command:
    return click.option(
        "--name", type=LOCAL, default=clouds.local_name, help="the local cloud's name (default: that of the settings)"
    )(command)


def _running(name: str) -> list[str] | None:
    """The ids of its instances; None where it does not run. It is not started for that."""
    found = clouds.local("status", "--name", name, "--json", check=False)
    if found.code == CloudError.exit_code:
        return None
    if not found.ok:
        clouds.local("status", "--name", name)  # refuses a name that cannot be
    return [str(row["id"]) for row in json.loads(found.out)["instances"]]


@local.command()
@_name
@click.option("--retired", is_flag=True, help="offer no p2 and p3, like AWS today")
@click.option("--bare", is_flag=True, help="leave Docker out of Canonical's machine images")
@dry_run_option
def start(name: str, retired: bool, bare: bool, dry_run: bool) -> None:
    """Start the local cloud, if it does not run."""
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
    """End the local cloud with all its instances."""
    if dry_run:
        ids = _running(name)
        if ids is None:
            console.say(f"the local cloud {name} does not run; would remove anything that it left in Docker")
        else:
            console.say(f"would end the local cloud {name} and its instances: {', '.join(ids) or 'none'}")
        return
    console.say(clouds.local("stop", "--name", name).out.strip() or f"the local cloud {name} is stopped")


@local.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def status(name: str, as_json: bool) -> None:
    """Show what the local cloud runs."""
    console.say(clouds.local("status", "--name", name, *(["--json"] if as_json else [])).out.rstrip())


@local.command()
@click.option("--name", type=LOCAL, default=None, help="the local cloud's name (default: all whose daemon is dead)")
@dry_run_option
def sweep(name: str | None, dry_run: bool) -> None:
    """Remove what a crashed local cloud left: containers, volumes, networks."""
    if dry_run:
        whose = f"the local cloud {name}, unless it runs" if name else "every local cloud that does not run"
        console.say(f"would remove from Docker the containers, volumes and networks of {whose}")
        return
    console.say(clouds.local("sweep", *(["--name", name] if name else ["--all"])).out.rstrip())


@local.command()
@click.argument("instance_id", type=INSTANCE)
@click.option("--notice", default=120.0, help="the seconds between the announcement and the end")
@_name
@dry_run_option
def interrupt(instance_id: str, notice: float, name: str, dry_run: bool) -> None:
    """Announce a spot interruption to an instance, and end it when the notice is over."""
    if dry_run:
        if instance_id not in (_running(name) or []):
            raise NotFoundError(
                f"the local cloud {name} has no instance {instance_id}", f"provision local status --name {name}"
            )
        console.say(f"would announce an interruption to {instance_id}, and end it {notice:g} s later")
        return
    clouds.local("interrupt", instance_id, "--notice", f"{notice:g}", "--name", name)
    console.say(f"{instance_id} has {notice:g} s left")
