"""The options that image commands share. Their words become two values at once, `Wanted` and `Place`, and the commands
see only those."""

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from provision.commands.image_wanted import Locking, Wanted
from provision.commands.options import HOST, PATH, TYPE, WORDS, Command, cloud_options
from provision.commands.session import Place

if TYPE_CHECKING:
    from images.build import Stage
    from images.patches import ColumnBuffer

_STAGES = ["runtime", "runtime-nopython", "devel", "build", "suite"]


def source_options(command: Command) -> Command:
    """Add --source, --source-mirror and --col-buffer."""
    source = click.option("--source", type=click.Choice(["git", "debian"]), default="git",
                          help="build from the stack's own commit, or from Debian's source package")  # fmt: skip
    mirror = click.option("--source-mirror", "mirror", type=WORDS, metavar="PATH-or-URL",
                          help="take the source from here: a git repository, checkout, folder, tar or URL")  # fmt: skip
    buffer = click.option("--col-buffer", "column_buffer", type=click.Choice(["ours", "static", "none"]),
                          default="ours",
                          help="Caffe's column buffer: one per thread, for all (unsafe) or per layer")  # fmt: skip
    return source(mirror(buffer(command)))


def wanted_options(command: Command) -> Command:
    """Add the options that choose an image of a target; the command gets them as `wanted`, a Wanted."""

    @functools.wraps(command)
    def call(stage: str, source: str, mirror: str | None, column_buffer: str, locking: Locking, **more: Any) -> Any:
        buffer = cast("ColumnBuffer", column_buffer)
        return command(wanted=Wanted(cast("Stage", stage), source == "debian", mirror, buffer, locking), **more)

    stage = click.option(
        "--stage", type=click.Choice(_STAGES), default="runtime", help="build the image up to this stage"
    )
    return stage(source_options(lock_options(call)))


def lock_options(command: Command) -> Command:
    """Add --lock and --no-lock; the command gets them as `locking`, a Locking."""

    @functools.wraps(command)
    def call(lock_file: Path | None, no_lock: bool, **more: Any) -> Any:
        if lock_file and no_lock:
            raise click.UsageError("give either --lock or --no-lock")
        return command(locking=Locking(lock_file, no_lock), **more)

    file = click.option("--lock", "lock_file", metavar="FILE", type=PATH,
                        help="use this lock, not provision.lock/STACK/ROW.yaml")  # fmt: skip
    none = click.option("--no-lock", is_flag=True, help="use no lock, even where there is one")
    return file(none(call))


def wish_options(command: Command) -> Command:
    """Add an option for each keyword that `images.choose.choose` takes beside the stack."""
    options = [
        click.option("--row", help="a row of the matrix"),
        click.option("--cuda", help="a CUDA version, such as 11.8"),
        click.option("--cudnn", help="a cuDNN version, such as 8.7"),
        click.option(
            "--gpu", multiple=True, help="GPUs that the image must run on, every one of them: V100 or sm_70,T4"
        ),
        click.option("--instance", type=TYPE, help="an AWS type that the image must run on, such as p3.8xlarge"),
        click.option("--flavour", type=click.Choice(["cpu", "cuda"]), help="an image for CPUs only, or one with CUDA"),
        click.option("--distribution", help="the distribution of the image, such as debian12 or ubuntu22.04"),
        click.option("--driver", callback=_branch, help="the NVIDIA driver of the machine, such as 470.256 or R535"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _branch(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    """The branch as a number: NVIDIA and our own messages write R535, which stands for every driver of that branch."""
    return re.sub(r"^[Rr](?=\d)", "", given) if given else given


def place_options(command: Command) -> Command:
    """Add --on, --cloud and --region; the command gets them as `place`, a Place."""

    @functools.wraps(command)
    def call(on: str | None, cloud: str | None, region: str | None, **more: Any) -> Any:
        return command(place=Place(on, cloud, region), **more)

    on = click.option(
        "--on", type=HOST, metavar="NAME", help="use the Docker engine of this machine of yours, or of ssh://user@host"
    )
    return on(cloud_options(call))
