"""`provision image build`, `check`, `push`, `ls`: what needs an engine, on this machine or another."""

from typing import TYPE_CHECKING

import click

from provision import console
from provision.commands.image_options import (
    Place,
    Wanted,
    place_options,
    show_checks,
    wanted_options,
)
from provision.commands.options import dry_run_option, json_option

if TYPE_CHECKING:
    from images.build import Image, Order
    from images.render import Context
    from infra.shell import Shell


@click.command()
@click.argument("target")
@wanted_options
@place_options
@click.option("--check/--no-check", "checked", default=True, help="run the stack's checks in a new image")
@click.option("--no-cache", is_flag=True, help="run every step again")
@json_option
@dry_run_option
def build(
    target: str, wanted: Wanted, place: Place, checked: bool, no_cache: bool, as_json: bool, dry_run: bool
) -> None:
    """Build TARGET's image, if it is not there yet, and check it. With --on, on that machine."""
    from images import choose as chooser
    from images.build import existing, tag_of

    found = chooser.parse(target)
    context = wanted.context(found)
    with place.shell() as shell:
        order = wanted.order(found, shell)
        made = None if no_cache else existing(context, shell, order)
        if dry_run:
            tag = tag_of(context, order)
            console.say(f"{tag} is there already" if made else f"would build {tag} on {found.variant.base}")
            return
        if made is None:
            made = _made(context, order, shell, checked=checked, no_cache=no_cache, show=not as_json)
    if as_json:
        console.emit_json({"tag": made.tag, "digest": made.digest, "size": made.size, "built": made.built})
        return
    console.say(f"{made.tag} {'built' if made.built else 'is there already'}: {console.size(made.size)}")
    console.say(_next(made, found.name, place))


@click.command()
@click.argument("target")
@wanted_options
@place_options
@json_option
def check(target: str, wanted: Wanted, place: Place, as_json: bool) -> None:
    """Run the checks of TARGET's stack in its image."""
    from images.check import check as run_checks
    from images.check import failed_words
    from infra.errors import ImageError

    with place.shell() as shell:
        found = _there(target, wanted, place, shell)
        results = run_checks(found, shell)
    if as_json:
        console.emit_json([vars(one) for one in results])
    else:
        show_checks(results)
    if said := failed_words(results):
        raise ImageError(f"{found.tag} does not work: {said}", f"look inside: docker run --rm -it {found.tag}")


@click.command()
@click.argument("target")
@click.argument("name", metavar="REGISTRY/NAME[:TAG]")
@wanted_options
@place_options
@json_option
@dry_run_option
def push(target: str, name: str, wanted: Wanted, place: Place, as_json: bool, dry_run: bool) -> None:
    """Push TARGET's image to a registry; to log in there is docker's own matter (docker login)."""
    from images.push import full_name
    from images.push import push as send

    with place.shell() as shell:
        found = _there(target, wanted, place, shell)
        if dry_run:
            console.say(f"would push {found.tag} to {full_name(found, name)}")
            return
        pushed = send(found, name, shell, console.line)
    if as_json:
        console.emit_json(vars(pushed))
        return
    console.say(f"{pushed.name} pushed: {pushed.digest}")
    console.say(f"next: docker pull {pushed.name}")


@click.command()
@place_options
@json_option
def ls(place: Place, as_json: bool) -> None:
    """The images that this machine's engine (or that of --on) has."""
    from images.build import listed

    with place.shell() as shell:
        found = listed(shell)
    if as_json:
        console.emit_json([vars(one) for one in found])
        return
    console.table("", ["tag", "id", "size", "created"], [(one.tag, one.id, one.size, one.created) for one in found])


def _there(target: str, wanted: Wanted, place: Place, shell: "Shell") -> "Image":
    """The image, which has to be there."""
    from images import choose as chooser
    from images.build import existing, tag_of
    from infra.errors import ImageError

    found = chooser.parse(target)
    context, order = wanted.context(found), wanted.order(found, shell)
    image = existing(context, shell, order)
    if image is None:
        raise ImageError(
            f"there is no image {tag_of(context, order)}", f"build it: provision image build {found.name}{place.words}"
        )
    return image


def _made(
    context: "Context", order: "Order", shell: "Shell", *, checked: bool, no_cache: bool = False, show: bool = True
) -> "Image":
    """Build, and check what comes out; it has its tag only when it works."""
    from images.build import build_context, checks_of
    from images.check import build_checked

    if not checked or not checks_of(context.target, order.stage):
        return build_context(context, shell, console.line, order, no_cache=no_cache)
    return build_checked(
        context, shell, console.line, order, no_cache=no_cache, on_checks=show_checks if show else None
    )


def _next(made: "Image", name: str, place: Place) -> str:
    if made.stage == "runtime" and place.on is None:
        return "next: provision up --instance p3.8xlarge"
    if made.stage == "runtime":
        return f"next: provision image check {name}{place.words}"
    return f"next: docker run --rm -it {made.tag}"
