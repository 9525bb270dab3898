"""Options that several commands share, and how their values are written."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra import names
from infra.errors import UsageError
from provision.commands import suggest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from infra.aws.types import DataVolume
    from provision.commands.suggest import Suggest
    from provision.offers.requirements import Requirements

    Text = click.ParamType[str]
else:
    Text = click.ParamType  # click 8.1 knows no type of its value

Command = Callable[..., Any]

_CLOUD = click.option(
    "--cloud", shell_complete=suggest.clouds, help="the cloud: aws, local or local:NAME (settings: cloud)"
)
_MINUTES = {"": 1.0, "m": 1.0, "h": 60.0, "d": 1440.0}
_VOLUME = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]{0,31}):(?P<gb>\d{1,5})(?P<delete>:delete)?")


class Name(Text):
    """A name of that kind, checked before the command begins. `also` tells which other words are accepted in its place;
    `complete` gives the shell's completions."""

    def __init__(
        self,
        metavar: str,
        kind: names.Kind,
        complete: "Suggest | None" = None,
        also: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.name, self._kind, self._complete, self._also = metavar, kind, complete, also

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        return self._complete(ctx, param, incomplete) if self._complete else []

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return names.path(str(value)) if self._also(value) else self._kind.check(value)


class File(click.Path):
    """A path. One that is too long is refused before anything looks for it. A file that is to be made (`new`) needs a
    name of its own, for its parts are written beside it."""

    def __init__(self, new: bool = False, complete: "Suggest | None" = None, **more: Any) -> None:
        super().__init__(**more)
        self._new, self._complete = new, complete

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        return (self._complete or super().shell_complete)(ctx, param, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names.path(os.fspath(value))
        found: Any = super().convert(value, param, ctx)
        if not self._new or Path(found).name not in ("", ".."):
            return found
        if not (whole := Path(found).resolve()).name:
            raise UsageError(f"{value} cannot be made", "name a file or a folder in it")
        return whole


def _file(words: str) -> bool:
    """Whether a file (or - for the standard input) is meant, not a run."""
    try:
        return "/" in words or words in ("-", ".", "..") or Path(words).exists()
    except (OSError, ValueError):  # longer than a file's name can be
        return False


PATH = File(path_type=Path)
NEW = File(new=True, path_type=Path)
WORDS = File()  # what may be a path, or a name
PORT = click.IntRange(1, 65535)
SEED = click.IntRange(0, 2**32 - 1)
MACHINE = Name("name", names.MACHINE, suggest.machines)
# ssh://user@host is read by infra.userssh
HOST = Name("name", names.MACHINE, suggest.machines, lambda words: "://" in words)
BOX = Name("name", names.BOX)
LOCAL = Name("name", names.LOCAL)
CLUSTER = Name("name", names.CLUSTER, suggest.clusters)
RUN = Name("run", names.RUN)
RUN_OR_FILE = Name("run|file", names.RUN, suggest.files, _file)
NET = Name("run|file", names.RUN, suggest.recipes_or_files, _file)
RECIPE = File(complete=suggest.recipes)
REGION = Name("region", names.REGION)
TYPE = Name("type", names.TYPE, suggest.types)
BUCKET = Name("name", names.BUCKET)
IMAGE = Name("id", names.IMAGE)
INSTANCE = Name("id", names.INSTANCE)


def cloud_options(command: Command) -> Command:
    """Add --cloud and --region."""
    command = click.option("--region", type=REGION, help="the AWS region (settings: region)")(command)
    return _CLOUD(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="print JSON")(command)


def metrics_option(command: Command) -> Command:
    return click.option(
        "--metrics", default="auto", metavar="FORMAT", shell_complete=suggest.metrics,
        help="which lines tell numbers, where looking does not find them: json, key-value, csv, tqdm, keras ... or "
        "regex:EXPRESSION with a named group for each (see docs/logs.md)",
    )(command)  # fmt: skip


def dry_run_option(command: Command) -> Command:
    return click.option("--dry-run", is_flag=True, help="print what would be done, and do nothing")(command)


def all_of(command: Command, options: list[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def rental_options(command: Command) -> Command:
    """Add all that says which machine to rent and what ends it, the same for `up`, `train` and `resume`."""
    return all_of(command, [
        click.option("--instance", "kind", type=TYPE, help="rent a machine of this type, such as p3.8xlarge"),
        click.option("--gpu-memory", type=click.FloatRange(min=0),
                     help="in place of a type: rent one with --gpus GPUs (default: 1) of so much memory each, in GB"),
        click.option("--or-equivalent", is_flag=True,
                     help="rent another type that can stand in for this one, if need be"),
        click.option("--volume", "volumes", multiple=True, callback=_volumes, metavar="NAME:GB[:delete]",
                     help="add a data disk at /volumes/NAME, which `down` keeps"),
        click.option("--spot/--on-demand", "spot", default=None,
                     help="rent on spot (the default: cheaper, but AWS may take the machine away) or on demand"),
        click.option("--max-price", type=float, help="the highest spot price, in US dollars an hour"),
        click.option("--disk", "disk_gb", type=int, help="the size of the root disk, in GB"),
        click.option("--max-hours", type=float, help="the machine ends by itself after this many hours"),
        click.option("--fallback", type=click.Choice(["none", "on-demand"]),
                     help="what to rent where there is no spot capacity"),
        click.option("--budget", type=float,
                     help="the machine ends by itself before it can have cost more than this many US dollars"),
        click.option("--idle-minutes", callback=_minutes, metavar="TIME",
                     help="end the machine after this time without work (0: never)"),
        click.option("--keep-on-error", "keep_on_error_minutes", callback=_minutes, metavar="TIME",
                     help="if the preparation of the machine fails, keep it for this time, such as 30m"),
        click.option("--via", type=click.Choice(["ssh", "ssm"]),
                     help="how to reach the machine; with ssm it has no inbound port at all"),
    ])  # fmt: skip


def regions_options(command: Command) -> Command:
    """Add --cloud and several --region."""
    return all_of(command, [
        _CLOUD,
        click.option("--region", "regions", type=REGION, multiple=True,
                     help="the AWS region; give more to try them in turn where there is no capacity"),
    ])  # fmt: skip


def up_options(command: Command) -> Command:
    """Add all options of `up`: which machine, where, and what ends it. `wish_of` reads them."""
    return all_of(command, [
        rental_options,
        click.option("--gpus", type=click.IntRange(min=1), help="in place of a type: the number of GPUs"),
        click.option("--image", help="an image target (STACK:ROW) that the machine must be able to run"),
        click.option("--name", type=MACHINE, help="the machine's name (default: made from the type)"),
        regions_options,
    ])  # fmt: skip


WISH = ("kind", "gpu_memory", "or_equivalent", "volumes", "spot")  # of the rental options: what no settings name
SETTINGS = (
    "max_price", "disk_gb", "max_hours", "fallback", "budget", "idle_minutes", "keep_on_error_minutes", "via",
)  # fmt: skip


def given_rental(given: dict[str, Any]) -> dict[str, Any]:
    """Those of the rental options that were given; no number is left out for being 0."""
    asked = {key: given[key] for key in (*WISH, *SETTINGS) if given[key] is not None and given[key] != ()}
    if asked.get("or_equivalent") is False:
        del asked["or_equivalent"]
    return asked


def flag_of(key: str, value: object) -> str:
    """The flag by which a rental option was given that value, by its parameter's name."""
    param = next(param for param in click.get_current_context().command.params if param.name == key)
    return (param.secondary_opts if value is False else param.opts)[0]


def refuse_unused(name: str | None, given: dict[str, Any]) -> None:
    """UsageError for an option that says what to rent, where the machine is there already: a budget that nobody keeps
    would be a surprise."""
    if name and (unused := given_rental(given)):
        flag = flag_of(*next(iter(unused.items())))
        raise UsageError(
            f"{flag} is for a machine that is rented, and {name} is there already", f"leave {flag} out, or --on"
        )


def regions_of(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags with the regions as `settings.load` takes them."""
    regions = flags.pop("regions")
    return flags | ({"region": regions[0], "more_regions": regions[1:]} if regions else {})


def wish_of(given: dict[str, Any]) -> "tuple[Requirements, dict[str, Any]]":
    """The wish, and the flags for `settings.load`, out of what `up_options` gave."""
    from provision.offers.requirements import Requirements

    flags = dict(given)
    kind, gpus, memory = (flags.pop(key) for key in ("kind", "gpus", "gpu_memory"))
    name, spot = flags.pop("name"), flags.pop("spot")
    if name == "here":
        raise UsageError("here is this laptop, so no machine can have that name", "give another --name")
    wish = Requirements(
        name=name or _name_of(kind, gpus, memory), type=kind or "", market="on-demand" if spot is False else "spot",
        gpus=gpus or 0, gpu_memory_gb=memory or 0.0, or_equivalent=flags.pop("or_equivalent"),
        volumes=flags.pop("volumes"), image=flags.pop("image") or "",
    )  # fmt: skip
    return wish, regions_of(flags)


def _name_of(kind: str | None, gpus: int | None, memory: float | None) -> str:
    """The machine's name where none was given: p3-8xlarge, or gpus-4x16 for 4 GPUs of 16 GB."""
    if kind:
        return kind.replace(".", "-")
    return f"gpus-{gpus or 1}" + (f"x{memory:.0f}" if memory else "")


def parse_minutes(text: str) -> float:
    """Minutes out of 30, 30m, 1.5h or 2d. UsageError where the text is no time."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([mhd]?)", text.strip())
    if not found:
        raise UsageError(f"{names.shown(text)} is no time", "write it as 30m, 4h or 1d")
    return float(found[1]) * _MINUTES[found[2]]


def parse_volume(text: str) -> "DataVolume":
    """A data volume out of NAME:GB or NAME:GB:delete. UsageError where the text is no volume."""
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
    found = tuple(parse_volume(text) for text in values)
    twice = {volume.name for volume in found if [other.name for other in found].count(volume.name) > 1}
    if twice:
        raise UsageError(f"the volume {min(twice)} is given twice", "give each a name of its own")
    return found
