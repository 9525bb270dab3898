"""`image stored`, `image forget`: the images that AWS keeps for runs without a laptop."""

import sys
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import cloud_options, dry_run_option, json_option, parse_minutes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.engines.images_stored import Held, Image

_DIGITS = len("sha256:") + 12


@click.command()
@cloud_options
@json_option
def stored(as_json: bool, **flags: Any) -> None:
    """List the images in S3, which `train --detach` brought there, with what AWS asks a month for each."""
    from provision.engines import images_stored

    session = clouds.session(**flags)
    held = images_stored.look(session.cloud)
    if as_json:
        console.emit_json([held.row(image) for image in held.images])
        return
    if held.images:
        _table("", held, held.images)
    else:
        console.say(f"no images in s3://{held.place.bucket}: they come with train --detach")
    if held.loose:
        size = sum(blob.size for blob in held.loose)
        console.say(f"of uploads that broke off: {console.size(size)}; `image forget` deletes them after a week")
    if held.blobs:
        size = sum(blob.size for blob in held.blobs.values())
        console.say(f"in all {console.size(size)}, {_dollars(held, size)} a month: layers of several images count once")


@click.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@click.option("--unused", metavar="TIME", help="all images that no run has used for this long, such as 30d")
@click.option("--force", is_flag=True, help="with --unused: delete them without asking")
@cloud_options
@dry_run_option
@json_option
def forget(
    images: tuple[str, ...], unused: str | None, force: bool, dry_run: bool, as_json: bool, **flags: Any
) -> None:
    """Delete images from S3, by their id (its first digits do) or tag. None that a run needs which goes on.

    Layers that other images have stay. A run of a deleted image brings it again when it is resumed.
    """
    from provision.engines import images_stored

    if bool(images) == bool(unused):
        raise UsageError("say which images to delete", "name them (provision image stored), or give --unused TIME")
    session = clouds.session(**flags)
    held = images_stored.look(session.cloud)
    chosen = images_stored.unused(held, parse_minutes(unused)) if unused else images_stored.named(held, images)
    blobs, rows = images_stored.gone(held, chosen), [held.row(image) for image in chosen]
    if chosen and not as_json:
        _table("would delete" if dry_run else "", held, chosen)
    if not dry_run and (chosen or blobs) and (not unused or force or _agreed(len(chosen))):
        blobs = images_stored.forget(session.cloud, [image.digest for image in chosen])
        _say_done(held, len(chosen), sum(blob.size for blob in blobs), as_json)
    elif not as_json:
        freed = sum(blob.size for blob in blobs)
        console.say(f"{console.size(freed)} would go" if dry_run and (chosen or blobs) else "nothing was deleted")
    if as_json:
        console.emit_json(rows)


def _say_done(held: "Held", count: int, size: int, as_json: bool) -> None:
    words = "1 image" if count == 1 else f"{count} images"
    if not as_json:
        console.say(f"deleted {words}: {console.size(size)} less in S3, {_dollars(held, size)} a month")


def _table(title: str, held: "Held", images: "Sequence[Image]") -> None:
    columns = ("image", "tag", "size", "alone", "$ a month", "used", "last run", "needed by")
    rows = []
    for image in images:
        row = held.row(image)
        rows.append(
            (image.digest[:_DIGITS], image.tag, console.size(row["bytes"]), console.size(row["alone"]),
             _dollars(held, row["bytes"]), f"{image.used:%Y-%m-%d}", image.run, " ".join(image.needed))
        )  # fmt: skip
    console.table(title, columns, rows)


def _dollars(held: "Held", size: int) -> str:
    return f"${held.monthly(size):.2f}"


def _agreed(count: int) -> bool:
    """Whether the user agrees. UsageError where nobody can be asked."""
    if not count:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{count} images would be deleted, and nobody can be asked", "add --force, after --dry-run")
    return click.confirm(f"delete these {count} images?", err=True)
