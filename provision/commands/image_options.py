"""What the image commands share: which image is meant, on which machine; and how an image's checks are shown.

The words of the command line become two values at once, `Wanted` and `Place`, and the commands see only those.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import click

from provision import console
from provision.commands.options import Command, cloud_options

if TYPE_CHECKING:
    from images.build import Order, Stage
    from images.check import CheckResult
    from images.patches import ColumnBuffer
    from images.render import Context
    from images.source import Source
    from images.target import Target
    from infra.shell import Shell

_STAGES = ["runtime", "runtime-nopython", "devel", "build", "suite"]


@dataclass(frozen=True)
class Wanted:
    """Which image of a target: up to which stage, from which source, with which column buffer."""

    stage: "Stage" = "runtime"
    debian: bool = False
    mirror: str | None = None
    column_buffer: "ColumnBuffer" = "ours"

    def context(self, target: "Target") -> "Context":
        from images.render import render

        return render(target, column_buffer=self.column_buffer)

    def source(self, target: "Target", shell: "Shell") -> "Source":
        from images.source import resolve
        from provision.settings import cache_home

        folder = cache_home() / "sources"
        return resolve(target.stack, folder, debian=self.debian, mirror=self.mirror, shell=shell, on_line=console.line)

    def order(self, target: "Target", shell: "Shell") -> "Order":
        from images.build import Order

        return Order(self.source(target, shell), self.stage)


@dataclass(frozen=True)
class Place:
    """The machine whose engine is meant: this one, one of ours by name, or ssh://user@host."""

    on: str | None = None
    cloud: str | None = None
    region: str | None = None

    @contextmanager
    def shell(self) -> "Iterator[Shell]":
        if self.on is None:
            from infra.shell import LocalShell

            yield LocalShell()
        elif "://" in self.on:
            from infra.userssh import user_shell

            with user_shell(self.on) as host:
                yield host
        else:
            from provision import machines
            from provision.clouds import resolve
            from provision.settings import load

            chosen = load(cloud=self.cloud, region=self.region)
            cloud = machines.locate(resolve(chosen), self.on, chosen.more_regions)
            with machines.shell(cloud, machines.find(cloud, self.on)) as host:
                yield host

    @property
    def words(self) -> str:
        """To be put behind a command that is proposed."""
        return f" --on {self.on}" if self.on else ""


def source_options(command: Command) -> Command:
    """--source, --source-mirror and --col-buffer."""
    source = click.option("--source", type=click.Choice(["git", "debian"]), default="git",
                          help="the stack's own commit, or Debian's source package")  # fmt: skip
    mirror = click.option("--source-mirror", "mirror", metavar="PATH-or-URL",
                          help="take a copy: a git repository, your checkout, a folder, a tar or a URL")  # fmt: skip
    buffer = click.option("--col-buffer", "column_buffer", type=click.Choice(["ours", "static", "none"]),
                          default="ours", help="one a thread, one for all (unsafe), one a layer")  # fmt: skip
    return source(mirror(buffer(command)))


def wanted_options(command: Command) -> Command:
    """Which image of a target; the command gets `wanted`, a Wanted."""

    @functools.wraps(command)
    def call(stage: str, source: str, mirror: str | None, column_buffer: str, **more: Any) -> Any:
        buffer = cast("ColumnBuffer", column_buffer)
        return command(wanted=Wanted(cast("Stage", stage), source == "debian", mirror, buffer), **more)

    stage = click.option("--stage", type=click.Choice(_STAGES), default="runtime", help="another stage than the last")
    return stage(source_options(call))


def wish_options(command: Command) -> Command:
    """What `images.choose.choose` takes beside the stack, a keyword for each."""
    options = [
        click.option("--row", help="a row of the matrix"),
        click.option("--cuda", help="a CUDA version, such as 11.8"),
        click.option("--cudnn", help="a cuDNN version, such as 8.7"),
        click.option("--gpu", help="a GPU that it must run on, such as V100"),
        click.option("--instance", help="an AWS type that it must run on, such as p3.8xlarge"),
        click.option("--flavour", type=click.Choice(["cpu", "cuda"]), help="for CPUs only, or with CUDA"),
        click.option("--distribution", help="such as debian12 or ubuntu22.04"),
        click.option("--driver", help="the driver that the machine has, such as 470.256"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def place_options(command: Command) -> Command:
    """--on, --cloud, --region; the command gets `place`, a Place."""

    @functools.wraps(command)
    def call(on: str | None, cloud: str | None, region: str | None, **more: Any) -> Any:
        return command(place=Place(on, cloud, region), **more)

    on = click.option("--on", metavar="NAME", help="use the engine of that machine of yours, or of ssh://user@host")
    return on(cloud_options(call))


def show_checks(results: "list[CheckResult]") -> None:
    rows = [(one.name, "ok" if one.ok else "FAILED", f"{one.seconds:.1f} s", one.said) for one in results]
    console.table("", ["check", "", "took", "said"], rows)
