"""`provision data sync`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import MACHINE, cloud_options, dry_run_option, json_option

if TYPE_CHECKING:
    from infra.aws.s3 import Place
    from provision.files.s3_folder import Change

_SHOWN = 40


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST", required=False)
@click.option("--delete", is_flag=True, help="delete from DST the files that SRC does not have")
@click.option("--force", is_flag=True, help="with --delete: do not ask where nothing that DST has would stay")
@click.option("--checksum", is_flag=True, help="compare the contents of all files of equal size, whatever their times")
@click.option(
    "--on",
    "name",
    type=MACHINE,
    metavar="NAME",
    help="let this machine fetch SRC to its own disk (DST is a folder there, below /data)",
)
@cloud_options
@json_option
@dry_run_option
def sync(
    source: str, target: str | None, delete: bool, force: bool, checksum: bool, name: str | None, as_json: bool,
    dry_run: bool, **flags: Any,
) -> None:  # fmt: skip
    """Copy the changed files of a folder to S3 or from it: SRC or DST is s3://BUCKET/PREFIX.

    With --on, the machine itself fetches an s3:// SRC to its disk, where `train --data SRC` finds it.
    """
    from infra.aws import s3
    from infra.aws.s3 import S3
    from provision.files import s3_folder

    if name is not None:
        _to_machine(name, source, target, delete or checksum, as_json, dry_run, flags)
        return
    if target is None:
        words = clouds.hint("data sync DIR s3://BUCKET/PREFIX", **flags)
        raise UsageError("no DST is given", f"write: {words}, or the other way round")
    up = target.startswith("s3://")
    if up == source.startswith("s3://"):
        put = clouds.hint("put NAME DIR TARGET", **flags)
        what = "both are in S3" if up else f"neither is in S3 (for a machine: {put})"
        raise UsageError(f"{source} and {target}: {what}", "one of SRC and DST is s3://BUCKET/PREFIX")
    place, folder = s3.parse(target if up else source), Path(source if up else target)
    store = S3(clouds.session(**flags).cloud, place.bucket, "")
    changes = s3_folder.plan(store, place, folder, up, delete, checksum)
    if not dry_run:
        if not force:
            _ask_before_all_goes(changes, source, target)
        s3_folder.apply(store, place, folder, changes, up)
    _show(changes, place, folder, as_json, dry_run)


def _ask_before_all_goes(changes: "list[Change]", source: str, target: str) -> None:
    """UsageError where --delete would leave nothing of what the target has, and the user does not agree."""
    from provision.files.s3_folder import NOTHING_STAYS

    count = sum(change.why == NOTHING_STAYS for change in changes)
    if not count:
        return
    said = f"all {count:,} files of {target} would be deleted: {source} has none of them"
    if not sys.stdin.isatty():
        raise UsageError(f"{said}; nothing was copied", "is SRC the right one? If it is: --force, after --dry-run")
    if not click.confirm(f"{said}. Delete them?", err=True):
        raise UsageError("nothing was copied or deleted", "name the right SRC, or leave out --delete")


def _show(changes: "list[Change]", place: "Place", folder: Path, as_json: bool, dry_run: bool) -> None:
    if as_json:
        rows = [
            {"action": change.action, "path": change.path, "size": change.size, "why": change.why} for change in changes
        ]
        console.emit_json({"place": str(place), "folder": str(folder), "dry_run": dry_run, "changes": rows})
        return
    if dry_run:
        rows_shown = [
            (change.action, change.path, console.size(change.size), change.why) for change in changes[:_SHOWN]
        ]
        console.table("", ("would", "file", "size", "why"), rows_shown)
        if len(changes) > _SHOWN:
            console.say(f"  and {len(changes) - _SHOWN:,} more (--json lists all)")
    copied = [change for change in changes if change.action != "delete"]
    gone = len(changes) - len(copied)
    size = console.size(sum(change.size for change in copied))
    would = "would copy" if dry_run else "copied"
    deleted = f"; {'would delete' if dry_run else 'deleted'}: {gone:,}" if gone else ""
    console.say(f"{would} {len(copied):,} files, {size}{deleted}")


def _to_machine(
    name: str, source: str, target: str | None, more: bool, as_json: bool, dry_run: bool, flags: dict[str, Any]
) -> None:
    from infra.aws import s3
    from infra.aws.s3 import S3
    from provision.commands.session import machine
    from provision.files import s3_to_host
    from provision.runs import inputs

    place = s3.parse(source)
    folder = target or inputs.host_folder(source)
    if more or not folder.startswith("/data/") or ".." in folder.split("/"):
        raise UsageError(
            "with --on SRC is s3://…, DST a folder below the machine's /data, and neither --delete nor --checksum goes",
            "leave DST out: it is then where `train --data` looks",
        )
    there = machine(name, flags)
    cloud = there.session.cloud
    objects = S3(cloud, place.bucket, "").objects(place.prefix)
    if not any(not s3_object.key.endswith("/") for s3_object in objects):
        raise UsageError(f"{place} has no file to copy", "is it the right prefix?")
    size = sum(s3_object.size for s3_object in objects)
    if not dry_run:
        with there.shell() as shell, console.step(f"{place} to {name}"):
            s3_to_host.to_host(cloud, there.instance, shell, place, folder)
    if as_json:
        told = {"place": str(place), "folder": folder, "files": len(objects), "bytes": size, "dry_run": dry_run}
        console.emit_json(told)
        return
    words = "would bring" if dry_run else "brought"
    console.say(f"{words} {place} to {folder} on {name}: {len(objects):,} files, {console.size(size)}")
