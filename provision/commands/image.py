"""`provision image …`: choose, render, build and check images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.options import dry_run_option, json_option

if TYPE_CHECKING:
    from images.build import Image
    from images.matrix import Variant
    from images.target import Target


@click.group()
def image() -> None:
    """Choose, render, build and check images. A TARGET is STACK or STACK:ROW."""


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
        console.emit_json([{**_raw(row), "stacks": stacks[key]} for key, row in sorted(rows().items())])
        return
    console.table(
        "",
        ["row", "base", "cuda", "cudnn", "gpus", "driver", "status", "stacks"],
        [
            (row.id, row.base, row.cuda, row.cudnn, " ".join(row.architectures), row.driver_min, row.status,
             " ".join(stacks[row.id]))
            for _, row in sorted(rows().items())
        ],
    )  # fmt: skip


@image.command()
@click.option("--stack", required=True, help="what shall be in the image")
@click.option("--row", help="a row of the matrix")
@click.option("--cuda", help="a CUDA version, such as 11.8")
@click.option("--gpu", help="a GPU that it must run on, such as V100")
@json_option
def choose(stack: str, row: str | None, cuda: str | None, gpu: str | None, as_json: bool) -> None:
    """The one target for a wish, or the reason why not and the nearest."""
    from images import choose as chooser

    target = chooser.choose(stack, row=row, cuda=cuda, gpu=gpu)
    if as_json:
        console.emit_json({"target": target.name, "tag": target.tag, "row": _raw(target.variant)})
        return
    console.say(f"{target.name}\n  {target.stack.about}\n  tag {target.tag}")
    console.say(f"next: provision image build {target.name}")


@image.command()
@click.argument("target", required=False)
@click.option("--all", "everything", is_flag=True, help="every target")
@click.option("--out", type=click.Path(path_type=Path), help="write to OUT/STACK/ROW; else print")
@dry_run_option
def render(target: str | None, everything: bool, out: Path | None, dry_run: bool) -> None:
    """Write the Dockerfile of TARGET; needs neither network nor Docker."""
    from images import choose as chooser
    from images.render import render as make

    if bool(target) == everything or (everything and not out):
        raise click.UsageError("name one TARGET, or all of them with --all --out DIR")
    wanted = [chooser.parse(target)] if target else list(chooser.targets())
    for one in wanted:
        if out is None:
            console.say(make(one).dockerfile.rstrip("\n"))
        elif dry_run:
            console.say(f"would write {out / one.stack.name / one.variant.id}")
        else:
            console.say(str(make(one).write(out)))


@image.command()
@click.argument("target")
@click.option("--check/--no-check", "checked", default=True, help="run the stack's checks in a new image")
@json_option
@dry_run_option
def build(target: str, checked: bool, as_json: bool, dry_run: bool) -> None:
    """Build TARGET's image, if it is not there yet, and check it."""
    from images import choose as chooser
    from images.build import build as make
    from images.build import existing
    from images.render import render as make_context
    from infra.shell import LocalShell

    wanted = chooser.parse(target)
    if dry_run:
        there = existing(make_context(wanted), LocalShell()) is not None
        console.say(f"{wanted.tag} is there already" if there else f"would build {wanted.tag} on {wanted.variant.base}")
        return
    made = make(wanted, LocalShell(), console.line)
    if made.built and checked:
        _check(made, show=not as_json)
    if as_json:
        console.emit_json({"tag": made.tag, "digest": made.digest, "size": made.size, "built": made.built})
        return
    console.say(f"{made.tag} {'built' if made.built else 'is there already'}: {console.size(made.size)}")
    console.say("next: provision up --instance p3.8xlarge")


@image.command()
@click.argument("target")
@json_option
def check(target: str, as_json: bool) -> None:
    """Run the checks of TARGET's stack in its image."""
    from images import choose as chooser
    from images.build import existing
    from images.render import render as make_context
    from infra.errors import ImageError
    from infra.shell import LocalShell

    wanted = chooser.parse(target)
    found = existing(make_context(wanted), LocalShell())
    if found is None:
        raise ImageError(f"there is no image {wanted.tag}", f"build it: provision image build {wanted.name}")
    _check(found, show=True, as_json=as_json)


@image.command()
@json_option
def ls(as_json: bool) -> None:
    """The images that this machine's engine has."""
    from images.build import listed
    from infra.shell import LocalShell

    found = listed(LocalShell())
    if as_json:
        console.emit_json([vars(one) for one in found])
        return
    console.table("", ["tag", "id", "size", "created"], [(one.tag, one.id, one.size, one.created) for one in found])


def _check(made: "Image", *, show: bool, as_json: bool = False) -> None:
    """Run the checks and show them; ImageError where one fails."""
    from images.check import check as run
    from infra.errors import ImageError
    from infra.shell import LocalShell

    results = run(made, LocalShell())
    if as_json:
        console.emit_json([vars(one) for one in results])
    elif show:
        rows = [(one.name, "ok" if one.ok else "FAILED", f"{one.seconds:.1f} s", one.said) for one in results]
        console.table("", ["check", "", "took", "said"], rows)
    if failed := [one for one in results if not one.ok]:
        said = "; ".join(f"{one.name}: {one.said}" for one in failed)
        raise ImageError(f"{made.tag} does not work: {said}", f"look inside: docker run --rm -it {made.tag}")


def _raw(value: "Variant | Target") -> Any:
    import msgspec

    return msgspec.to_builtins(value)
