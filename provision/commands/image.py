"""`provision image …`: what can be made, and for what; the commands around building are in the modules beside."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.image_build import build, check, ls, push
from provision.commands.image_options import wish_options
from provision.commands.image_source import bake, patch, prove
from provision.commands.options import dry_run_option, json_option

if TYPE_CHECKING:
    from images.matrix import Variant


@click.group()
def image() -> None:
    """Choose, render, build and check images. A TARGET is STACK, STACK:ROW or STACK:ROW@GPU,GPU."""


@image.command()
@json_option
def matrix(as_json: bool) -> None:
    """What images can stand on, and the stacks that can."""
    from images.choose import targets
    from images.matrix import rows

    stacks: dict[str, list[str]] = {row: [] for row in rows()}
    for target in targets():
        stacks[target.variant.id].append(target.stack.name)
    if as_json:
        console.emit_json([{**_raw(row), "stacks": stacks[key]} for key, row in rows().items()])
        return
    console.table(
        "",
        ["row", "base", "cuda", "cudnn", "gpus", "driver", "status", "stacks"],
        [
            (row.id, row.base, row.cuda, row.cudnn, " ".join(row.architectures), row.driver_min, row.status,
             " ".join(stacks[row.id]))
            for row in rows().values()
        ],
    )  # fmt: skip


@image.command()
@click.option("--stack", required=True, help="what shall be in the image")
@wish_options
@json_option
def choose(stack: str, as_json: bool, **wish: str | None) -> None:
    """The one target for a wish, or the reason why not and the nearest."""
    from images import choose as chooser

    target = chooser.choose(stack, **wish)
    if as_json:
        console.emit_json({"target": target.name, "tag": target.tag, "caution": target.variant.caution,
                           "row": _raw(target.variant)})  # fmt: skip
        return
    console.say(f"{target.name}\n  {target.stack.about}\n  tag {target.tag}")
    if target.variant.caution:
        console.say(f"  {target.variant.caution}")
    console.say(f"next: provision image build {target.name}")


@image.command()
@click.argument("target", required=False)
@click.option("--all", "everything", is_flag=True, help="every target")
@click.option("--out", type=click.Path(path_type=Path), help="write to OUT/STACK/ROW; else print")
@dry_run_option
def render(target: str | None, everything: bool, out: Path | None, dry_run: bool) -> None:
    """Write the Dockerfile of TARGET; needs neither network nor Docker."""
    from images import choose as chooser
    from images.render import folder_of
    from images.render import render as make

    if bool(target) == everything or (everything and not out):
        raise click.UsageError("name one TARGET, or all of them with --all --out DIR")
    wanted = [chooser.parse(target)] if target else list(chooser.targets())
    for one in wanted:
        if out is None:
            console.say(make(one).dockerfile.rstrip("\n"))
        elif dry_run:
            console.say(f"would write {out / folder_of(one)}")
        else:
            console.say(str(make(one).write(out)))


def _raw(value: "Variant") -> Any:
    import msgspec

    return msgspec.to_builtins(value)


for _command in (build, check, push, ls, patch, bake, prove):
    image.add_command(_command)
