"""Options that several commands share, and how their values are written."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError

if TYPE_CHECKING:
    from infra.aws.types import DataVolume
    from provision.wish import Wish

Command = Callable[..., Any]

_MINUTES = {"": 1.0, "m": 1.0, "h": 60.0, "d": 1440.0}
_VOLUME = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]{0,31}):(?P<gb>\d{1,5})(?P<delete>:delete)?")


def cloud_options(command: Command) -> Command:
    """--cloud and --region."""
    command = click.option("--region", help="AWS region (settings: region)")(command)
    return click.option("--cloud", help="aws, local or local:NAME (settings: cloud)")(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="print JSON")(command)


def dry_run_option(command: Command) -> Command:
    return click.option("--dry-run", is_flag=True, help="print what would be done, and do nothing")(command)


def _all(command: Command, options: list[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def machine_options(command: Command) -> Command:
    """What kind of machine to rent."""
    return _all(command, [
        click.option("--spot/--on-demand", "spot", default=True, help="spot is cheaper and can be taken away"),
        click.option("--max-price", type=float, help="highest spot price, dollars an hour"),
        click.option("--disk", "disk_gb", type=int, help="root disk in GB"),
        click.option("--max-hours", type=float, help="the machine ends by itself after this time"),
    ])  # fmt: skip


def up_options(command: Command) -> Command:
    """All of `up`'s: which machine, where, and what ends it. `wish_of` reads them."""
    return _all(command, [
        click.option("--instance", "kind", help="instance type, such as p3.8xlarge"),
        click.option("--gpus", type=click.IntRange(min=1), help="in place of a type: how many GPUs"),
        click.option("--gpu-memory", type=click.FloatRange(min=0), help="in place of a type: GB of each GPU"),
        click.option("--or-equivalent", is_flag=True, help="the type's stand-ins will do, too"),
        click.option("--image", help="a target (STACK:ROW) that has to run there"),
        click.option("--name", help="what to call it (default: from the type)"),
        click.option("--volume", "volumes", multiple=True, callback=_volumes, metavar="NAME:GB[:delete]",
                     help="a disk of its own at /volumes/NAME, kept by `down`"),
        machine_options,
        click.option("--fallback", type=click.Choice(["none", "on-demand"]), help="where there is no spot capacity"),
        click.option("--budget", type=float, help="the machine ends by itself after this many dollars"),
        click.option("--idle-minutes", callback=_minutes, metavar="TIME", help="the machine ends when idle (0: never)"),
        click.option("--keep-on-error", "keep_on_error_minutes", callback=_minutes, metavar="TIME",
                     help="a machine that could not be prepared lives on for this time: 30m"),
        click.option("--via", type=click.Choice(["ssh", "ssm"]), help="ssm: no inbound port at all"),
        click.option("--cloud", help="aws, local or local:NAME (settings: cloud)"),
        click.option("--region", "regions", multiple=True, help="AWS region; again: to try next without capacity"),
    ])  # fmt: skip


def wish_of(given: dict[str, Any]) -> "tuple[Wish, dict[str, Any]]":
    """What `up_options` gave, as the wish and the flags for `settings.load`."""
    from provision.wish import Wish

    flags = dict(given)
    kind, gpus, memory = (flags.pop(key) for key in ("kind", "gpus", "gpu_memory"))
    name, spot = flags.pop("name"), flags.pop("spot")
    wish = Wish(
        name=name or _name_of(kind, gpus, memory), type=kind or "", market="spot" if spot else "on-demand",
        gpus=gpus or 0, gpu_memory_gb=memory or 0.0, or_equivalent=flags.pop("or_equivalent"),
        volumes=flags.pop("volumes"), image=flags.pop("image") or "",
    )  # fmt: skip
    regions = flags.pop("regions")
    if regions:
        flags |= {"region": regions[0], "more_regions": regions[1:]}
    return wish, flags


def _name_of(kind: str | None, gpus: int | None, memory: float | None) -> str:
    """p3-8xlarge; gpus-4x16 by need."""
    if kind:
        return kind.replace(".", "-")
    return f"gpus-{gpus or 1}" + (f"x{memory:.0f}" if memory else "")


def parse_minutes(text: str) -> float:
    """Minutes out of 30, 30m, 1.5h or 2d. UsageError where it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhd]?)", text.strip())
    if not found:
        raise UsageError(f"{text!r} is no time", "write it as 30m, 4h or 1d")
    return float(found[1]) * _MINUTES[found[2]]


def parse_volume(text: str) -> "DataVolume":
    """A data volume out of NAME:GB or NAME:GB:delete. UsageError where it is none."""
    from infra.aws.types import DataVolume

    found = _VOLUME.fullmatch(text)
    if not found or not 1 <= int(found["gb"]) <= 16384:
        raise UsageError(
            f"{text!r} is no volume", "write it as data:200 or data:200:delete (small letters; 1 to 16384 GB)"
        )
    return DataVolume(found["name"], int(found["gb"]), keep=not found["delete"])


def _minutes(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    return None if value is None else parse_minutes(value)


def _volumes(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> "tuple[DataVolume, ...]":
    found = tuple(parse_volume(one) for one in values)
    twice = {one.name for one in found if [other.name for other in found].count(one.name) > 1}
    if twice:
        raise UsageError(f"the volume {min(twice)} is given twice", "give each a name of its own")
    return found
