"""`provision image lock`, `update`: hold a target to what it is today, in a file of the project."""

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from provision import console
from provision.commands.image_options import place_options
from provision.commands.options import dry_run_option, json_option
from provision.commands.session import Place

if TYPE_CHECKING:
    from images.lock import Lock
    from images.target import Target
    from infra.shell import Shell


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@place_options
@json_option
@dry_run_option
def lock(targets: tuple[str, ...], place: Place, as_json: bool, dry_run: bool) -> None:
    """Lock TARGET to today's base images, packages and checksums: every later build uses these.

    A TARGET that is locked already stays as it is; `update` renews its lock.
    """
    from images import choose as chooser
    from images.lock import find

    found = [chooser.parse(target) for target in targets]
    before = {target.name: find(target) for target in found}
    with place.shell() as shell:
        after = {target.name: before[target.name] or _today(target, shell) for target in found}
    proposed = _next("lock", found, place, dry_run=dry_run)
    _finish(found, before, after, proposed=proposed, as_json=as_json, dry_run=dry_run)


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@place_options
@json_option
@dry_run_option
def update(targets: tuple[str, ...], place: Place, as_json: bool, dry_run: bool) -> None:
    """Renew TARGET's lock, and show what changed in it."""
    from images import choose as chooser
    from images.lock import find
    from infra.errors import UsageError

    found = [chooser.parse(target) for target in targets]
    before = {target.name: find(target) for target in found}
    if missing := [name for name, there in before.items() if there is None]:
        raise UsageError(f"{missing[0]} is not locked", f"provision image lock {' '.join(missing)}{place.words}")
    with place.shell() as shell:
        after = {target.name: _today(target, shell) for target in found}
    proposed = _next("update", found, place, dry_run=dry_run)
    _finish(found, before, after, proposed=proposed, as_json=as_json, dry_run=dry_run)


def _next(verb: str, targets: "list[Target]", place: Place, *, dry_run: bool) -> str:
    """The command to propose: the same without --dry-run, or the build of the target that is locked now."""
    words = f"{verb} {' '.join(target.name for target in targets)}" if dry_run else f"build {targets[0].name}"
    return f"provision image {words}{place.words}"


def _today(target: "Target", shell: "Shell") -> "Lock":
    """What the target's lock would be today."""
    from images.build import bases
    from images.lock import make
    from images.render import render
    from infra import basepin

    names = bases(render(target).dockerfile)
    return make(target, {name: basepin.pin(name, shell, console.line) for name in names}, datetime.now(timezone.utc))


def _finish(
    targets: "list[Target]",
    before: "dict[str, Lock | None]",
    after: "dict[str, Lock]",
    *,
    proposed: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Write what changed, and show it, and the command that is `proposed` next."""
    from images.lock import changes, write
    from images.lock import place as file_of

    found = {target.name: changes(before[target.name], after[target.name]) for target in targets}
    for target in targets:
        if found[target.name] and not dry_run:
            write(after[target.name], target)
    if as_json:
        console.emit_json([
            {"target": target.name, "file": str(file_of(target)), "written": bool(found[target.name]) and not dry_run,
             "changes": [dict(zip(("what", "old", "new"), row, strict=True)) for row in found[target.name]]}
            for target in targets
        ])  # fmt: skip
        return
    for target in targets:
        title = f"{file_of(target)}{': nothing is written' if dry_run else ''}"
        if found[target.name]:
            console.table(title, ["what", "old", "new"], found[target.name])
        else:
            console.say(f"{target.name} is locked already: {file_of(target)} of {after[target.name].date}")
    console.say(f"next: {proposed}")
