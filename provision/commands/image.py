"""`provision image …`: what can be made, and for what; the commands around building are in the modules beside."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands import suggest
from provision.commands.image_build import build, check, ls, push
from provision.commands.image_lock import lock, update
from provision.commands.image_matrix import ask_the_network, verify_options
from provision.commands.image_options import lock_options, wish_options
from provision.commands.image_patch import patch
from provision.commands.image_source import bake, prove, secret
from provision.commands.image_stored import forget, stored
from provision.commands.image_wanted import Locking, with_driver
from provision.commands.options import PATH, dry_run_option, json_option

if TYPE_CHECKING:
    from images.matrix import Variant
    from images.target import Target


@click.group()
def image() -> None:
    """Choose, render, build and check images. A TARGET is STACK, STACK:ROW or STACK:ROW@GPU,GPU."""


@image.command()
@verify_options
@json_option
def matrix(as_json: bool, verify: bool, **asked: Any) -> None:
    """List the rows that images can be based on, and which stacks can use each.

    --verify asks the network whether everything that the rows need is still there, and writes a report. It needs
    neither Docker nor AWS, sends HEAD requests where these suffice, and opens a few connections to each host. It asks
    the package mirrors that this machine uses; where it knows no mirror it asks nothing, and the last line says so.
    The exit code is 0 where all that was asked for is there, 12 where something is gone, 9 where an answer is missing.
    """
    if ask_the_network(verify, as_json, **asked):
        return
    from images import ends
    from images.choose import targets
    from images.distributions import distribution
    from images.matrix import rows

    stacks: dict[str, list[str]] = {row: [] for row in rows()}
    for target in targets():
        stacks[target.variant.id].append(target.stack.name)
    if as_json:
        console.emit_json(
            [
                {**_raw(row), "stacks": stacks[key], "end_of_life": distribution(row.distribution).end_of_life}
                for key, row in rows().items()
            ]
        )
        return
    console.table(
        "",
        ["row", "base", "cuda", "cudnn", "gpus", "driver", "status", "release", "stacks"],
        [
            (row.id, row.base, row.cuda, row.cudnn, " ".join(row.architectures), _drivers(row), row.status,
             "lives" if ends.lives(row) else f"ended {distribution(row.distribution).end_of_life}",
             " ".join(stacks[row.id]))
            for row in rows().values()
        ],
    )  # fmt: skip


def _drivers(row: "Variant") -> str | None:
    """The drivers that run the row on a data-centre GPU: single branches, and the branch from which on all do."""
    takes = row.accepts
    return row.driver_min if takes is None else " ".join((*takes.tesla, f"≥{takes.native}"))


@image.command()
@click.option("--stack", required=True, shell_complete=suggest.stacks, help="the stack that the image has to hold")
@wish_options
@json_option
def choose(stack: str, as_json: bool, **wish: Any) -> None:
    """Print the target that fits a wish best, or why none fits and which is nearest.

    For an AWS type, the driver that its machines will have counts, too; --driver names another driver.
    """
    from images import choose as chooser
    from images import ends
    from images.lock import find
    from images.render import render as make

    wish = with_driver(wish)
    target = chooser.choose(stack, **wish)
    told = (target.caution, ends.caution(target.variant), *_cautions(target, wish))
    cautions = [caution for caution in told if caution]
    tag = make(target, lock=find(target)).tag
    if as_json:
        console.emit_json({"target": target.name, "tag": tag, "caution": "; ".join(cautions),
                           "row": _raw(target.variant)})  # fmt: skip
        return
    console.say(f"{target.name}\n  {target.stack.about}\n  tag {tag}")
    for caution in cautions:
        console.say(f"  {caution}")
    console.say(f"next: provision image build {target.name}")


def _cautions(target: "Target", wish: dict[str, Any]) -> list[str]:
    """What the user should know about the target's row on the GPUs and the driver of the wish."""
    from images import fits, gpus
    from images.choose import gpus_of

    names = gpus_of(wish["gpu"], wish["instance"])
    return fits.cautions(target.variant, [gpus.gpu(name) for name in names], wish["driver"] or "")


@image.command()
@click.argument("target", required=False)
@click.option("--all", "everything", is_flag=True, help="render every target")
@click.option("--out", type=PATH, help="write the files to OUT/STACK/ROW (default: print the Dockerfile)")
@lock_options
@dry_run_option
def render(target: str | None, everything: bool, out: Path | None, locking: Locking, dry_run: bool) -> None:
    """Write the Dockerfile of TARGET, without network and Docker."""
    from images import choose as chooser
    from images.render import folder_of
    from images.render import render as make

    if everything and locking.file:
        raise click.UsageError("--lock FILE holds for one TARGET, so it does not go with --all")
    if bool(target) == everything or (everything and not out):
        raise click.UsageError("name one TARGET, or all of them with --all --out DIR")
    wanted = [chooser.parse(target)] if target else list(chooser.targets())
    for chosen in wanted:
        if out is None:
            console.say(make(chosen, lock=locking.of(chosen)).dockerfile.rstrip("\n"))
        elif dry_run:
            console.say(f"would write {out / folder_of(chosen)}")
        else:
            console.say(str(make(chosen, lock=locking.of(chosen)).write(out)))


def _raw(value: "Variant") -> Any:
    import msgspec

    return msgspec.to_builtins(value)


for _command in (build, check, push, ls, lock, update, patch, bake, prove, secret, stored, forget):
    image.add_command(_command)
