"""`provision data sync`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console, settings
from provision.commands.options import cloud_options, dry_run_option, json_option

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from provision.datasync import Change, Place

_SHOWN = 40


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST", required=False)
@click.option("--delete", is_flag=True, help="take away from DST what SRC does not have")
@click.option("--checksum", is_flag=True, help="compare contents where the size is the same, whatever the time")
@click.option("--on", "name", metavar="NAME", help="fetch to that machine's disk (DST: a folder there, below /data)")
@cloud_options
@json_option
@dry_run_option
def sync(
    source: str, target: str | None, delete: bool, checksum: bool, name: str | None, as_json: bool, dry_run: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Copy a folder to S3 or from it: SRC or DST is s3://BUCKET/PREFIX. Changed files only, several at a time.

    With --on the machine fetches an s3:// SRC itself; `train --data SRC` finds it there.
    """
    from infra.aws.s3 import S3
    from provision import datasync

    if name is not None:
        _to_machine(name, source, target, delete or checksum, as_json, dry_run, flags)
        return
    if target is None:
        raise UsageError("no DST is given", "write: provision data sync DIR s3://BUCKET/PREFIX, or the other way round")
    up = target.startswith("s3://")
    if up == source.startswith("s3://"):
        what = "both are in S3" if up else "neither is in S3 (for a machine: provision put NAME DIR TARGET)"
        raise UsageError(f"{source} and {target}: {what}", "one of SRC and DST is s3://BUCKET/PREFIX")
    place, folder = datasync.parse(target if up else source), Path(source if up else target)
    store = S3(clouds.resolve(settings.load(**flags)), place.bucket, "")
    changes = datasync.plan(store, place, folder, up, delete, checksum)
    if not dry_run:
        datasync.apply(store, place, folder, changes, up)
    _show(changes, place, folder, as_json, dry_run)


def _show(changes: "list[Change]", place: "Place", folder: Path, as_json: bool, dry_run: bool) -> None:
    if as_json:
        rows = [{"action": one.action, "path": one.path, "size": one.size, "why": one.why} for one in changes]
        console.emit_json({"place": str(place), "folder": str(folder), "dry_run": dry_run, "changes": rows})
        return
    if dry_run:
        rows_shown = [(one.action, one.path, console.size(one.size), one.why) for one in changes[:_SHOWN]]
        console.table("", ("would", "file", "size", "why"), rows_shown)
        if len(changes) > _SHOWN:
            console.say(f"  and {len(changes) - _SHOWN:,} more (--json lists all)")
    copied = [one for one in changes if one.action != "delete"]
    gone = len(changes) - len(copied)
    size = console.size(sum(one.size for one in copied))
    would = "would copy" if dry_run else "copied"
    console.say(f"{would} {len(copied):,} files, {size}" + (f"; deleted: {gone:,}" if gone else ""))


def _to_machine(
    name: str, source: str, target: str | None, more: bool, as_json: bool, dry_run: bool, flags: dict[str, Any]
) -> None:
    from infra.aws.s3 import S3
    from provision import datasync, machines
    from provision.commands.machines import where_is

    place = datasync.parse(source)
    folder = target or datasync.host_folder(source)
    if more or not folder.startswith("/data/") or ".." in folder.split("/"):
        raise UsageError(
            "with --on SRC is s3://…, DST a folder below the machine's /data, and neither --delete nor --checksum goes",
            "leave DST out: it is then where `train --data` looks",
        )
    cloud: Cloud = where_is(name, flags)
    instance = machines.find(cloud, name)
    objects = S3(cloud, place.bucket, "").objects(place.prefix)
    size = sum(one.size for one in objects)
    if not dry_run:
        with machines.shell(cloud, instance) as shell, console.step(f"{place} to {name}"):
            datasync.to_host(cloud, instance, shell, place, folder)
    if as_json:
        told = {"place": str(place), "folder": folder, "files": len(objects), "bytes": size, "dry_run": dry_run}
        console.emit_json(told)
        return
    words = "would bring" if dry_run else "brought"
    console.say(f"{words} {place} to {folder} on {name}: {len(objects):,} files, {console.size(size)}")
