"""`provision image build`, `check`, `push`, `ls`: what needs an engine, on this machine or another."""

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision import console
from provision.commands.image_options import place_options, wanted_options
from provision.commands.image_wanted import Wanted
from provision.commands.options import PATH, dry_run_option, json_option
from provision.commands.session import Place

if TYPE_CHECKING:
    from images.build import Image, Order
    from images.check import CheckResult
    from images.render import Context
    from infra.shell import Shell


@click.command()
@click.argument("target")
@wanted_options
@place_options
@click.option("--check/--no-check", "checked", default=True, help="run the stack's checks in a new image")
@click.option("--no-cache", is_flag=True, help="run every step of the build again")
@click.option("--pull", is_flag=True, help="ask for newer base images, and build again if there are any")
@click.option("--attest", "folder", is_flag=False, flag_value=".", metavar="[DIR]", type=PATH,
              help="write a bill of materials (CycloneDX) and the provenance (SLSA) to DIR")  # fmt: skip
@json_option
@dry_run_option
def build(
    target: str,
    wanted: Wanted,
    place: Place,
    checked: bool,
    no_cache: bool,
    pull: bool,
    folder: Path | None,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Build TARGET's image, here or on the machine of --on, unless it is there already, and check it."""
    from images import attest
    from images import choose as chooser
    from images.build import existing

    found = chooser.parse(target)
    context = wanted.context(found)
    if folder is not None:
        attest.library()
    with place.shell() as shell:
        order = wanted.order(found, shell)
        needed = _bases(context, order, shell, pull=pull, dry_run=dry_run)
        made = None if no_cache else existing(context, shell, order)
        if dry_run:
            console.say(_plan(context, order, made, needed if pull else []))
            return
        begun = datetime.now(timezone.utc)
        if made is None:
            made = _made(context, order, shell, checked=checked, no_cache=no_cache, show=not as_json)
        written = _attested(made, context, order, shell, folder, begun) if folder is not None else []
    if as_json:
        more = {"attestations": written} if folder is not None else {}
        console.emit_json({"tag": made.tag, "digest": made.digest, "size": made.size, "built": made.built, **more})
        return
    console.say(f"{made.tag} {'built' if made.built else 'is there already'}: {console.size(made.size)}")
    for path in written:
        console.say(f"  {path}")
    console.say(_next(made, place))


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
        console.emit_json([vars(result) for result in results])
    else:
        _show_checks(results)
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
    """Push TARGET's image to a registry. Log in there first, with `docker login`."""
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
    """List the images of this machine's Docker engine, or of the engine of --on."""
    from images.build import listed

    with place.shell() as shell:
        found = listed(shell)
    if as_json:
        console.emit_json([vars(image) for image in found])
        return
    console.table(
        "", ["tag", "id", "size", "created"], [(image.tag, image.id, image.size, image.created) for image in found]
    )


def _there(target: str, wanted: Wanted, place: Place, shell: "Shell") -> "Image":
    """The image that the engine has already. ImageError, with the command that builds it, where it has none."""
    from images import choose as chooser
    from images.build import existing, tag_of
    from infra.errors import ImageError

    found = chooser.parse(target)
    context, order = wanted.context(found), wanted.order(found, shell)
    image = existing(context, shell, order, any_base=True)
    if image is None:
        raise ImageError(
            f"there is no image {tag_of(context, order)}", f"build it: provision image build {found.name}{place.words}"
        )
    return image


def _bases(context: "Context", order: "Order", shell: "Shell", *, pull: bool, dry_run: bool) -> list[str]:
    """Bring the image's bases that may change from day to day: with `pull` anew; else an old base is named as old.

    A base that a lock holds and that was made here stays: a new one would differ, and the old one would be lost.
    """
    from images import bases
    from images.build import bases as names
    from images.build import stage_in

    kept = context.lock.made_here if context.lock else ()
    needed = [base for base in names(context.dockerfile, stage_in(context, order)) if base not in kept]
    for name in kept if pull else ():
        words = f"provision image build {context.target.name} --no-lock --pull, then provision image update"
        console.line(f"{name} stays: the lock holds it, and it was made here; another: {words} {context.target.name}")
    if pull and not dry_run:
        bases.fetch(needed, shell, console.line, pull=True)
    for caution in [] if pull else bases.cautions(needed, shell):
        console.line(caution)
    return needed


def _plan(context: "Context", order: "Order", made: "Image | None", pulled: list[str]) -> str:
    from images.build import tag_of

    tag = tag_of(context, order)
    first = f"would ask for {', '.join(pulled)} anew; " if pulled else ""
    if made:
        return first + (
            f"{tag} is there, and would be built again on another base" if pulled else f"{tag} is there already"
        )
    return f"{first}would build {tag} on {context.target.variant.base}"


def _made(
    context: "Context", order: "Order", shell: "Shell", *, checked: bool, no_cache: bool = False, show: bool = True
) -> "Image":
    """Build the image and check it; it gets its tag only when it works."""
    from images.build import build_context, checks_of
    from images.check import build_checked

    if not checked or not checks_of(context.target, order.stage):
        return build_context(context, shell, console.line, order, no_cache=no_cache)
    return build_checked(
        context, shell, console.line, order, no_cache=no_cache, on_checks=_show_checks if show else None
    )


def _attested(
    made: "Image", context: "Context", order: "Order", shell: "Shell", folder: Path, begun: datetime
) -> list[str]:
    """Write the bill of materials and the provenance; the paths of the files."""
    from images import attest

    times = (begun, datetime.now(timezone.utc)) if made.built else None
    return [str(path) for path in attest.write(attest.look(made, context, order, shell, times), shell, folder)]


def _next(made: "Image", place: Place) -> str:
    """A command that uses the image, on a type that runs it if it is for GPUs."""
    from provision import clouds, settings
    from provision.offers import compatibility

    if made.stage != "runtime":
        return f"next: docker run --rm -it {made.tag}"
    name = made.target.name
    on_gpus = made.target.variant.cuda and place.on is None
    if on_gpus and (kind := compatibility.smallest_type(name, settings.load())):
        return f"next: {clouds.hint(f'up --image {name} --instance {kind}', **place.flags)}"
    return f"next: provision image check {name}{place.words}"


def _show_checks(results: "list[CheckResult]") -> None:
    rows = [
        (result.name, "ok" if result.ok else "FAILED", f"{result.seconds:.1f} s", result.said) for result in results
    ]
    console.table("", ["check", "", "took", "said"], rows)
