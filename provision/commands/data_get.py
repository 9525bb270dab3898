"""`provision data get`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import PATH, WORDS, dry_run_option, json_option

if TYPE_CHECKING:
    from provision.data.datasets import File, Set


@click.command()
@click.argument("what", metavar="NAME|URL", required=False)
@click.argument("folder", metavar="[DIR]", type=PATH, required=False)
@click.option("--sha256", default="", metavar="HEX", help="for a URL: refuse a file with another SHA-256 sum")
@click.option(
    "--md5",
    default="",
    metavar="HEX",
    help="for a URL: refuse a file with another MD5 sum, where only that is published",
)
@click.option("--unpack", is_flag=True, help="for a URL: unpack the file, an archive (tar or zip)")
@click.option(
    "--names-encoding",
    "names",
    default="",
    metavar="CODEC",
    help="the encoding of names in an archive that does not tell it: gbk, cp932, cp850, …",
)
@click.option("--keep", is_flag=True, help="keep archives after they are unpacked")
@click.option(
    "--from",
    "sources",
    type=WORDS,
    multiple=True,
    metavar="FILE|DIR|URL",
    help="take the files from here first: your own copies, or another address; their sums are checked all the same",
)
@json_option
@dry_run_option
@on_option
def get(
    what: str | None, folder: Path | None, sha256: str, md5: str, unpack: bool, names: str, keep: bool,
    sources: tuple[str, ...], as_json: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Download a data set (or any file) to DIR, check it and unpack it. Without a name, list the data sets.

    Without DIR, the folder is called NAME. A download that broke off goes on. What DIR has under a file's name is
    checked in its place and kept: so a file may be brought by hand.
    """
    from provision.data import archive_names, datasets, download_sources, downloads

    if what is None:
        _list(as_json)
        return
    name, chosen = datasets.find(what, sha256, md5, unpack)
    target = folder or Path(name)
    if target.is_file():
        raise UsageError(f"{target} is a file", "name a folder")
    download_sources.refuse_unused(chosen, sources)
    if names and not any(file.unpack for file in chosen.files):
        raise UsageError("--names-encoding is for an archive that is unpacked", "add --unpack, or leave it out")
    names = names and archive_names.checked(names)
    todo = downloads.missing(chosen, target)
    if dry_run:
        _show_plan(chosen, target, todo, as_json)
        return
    if chosen.licence:
        console.line(f"{what}: {chosen.about}\n  licence: {chosen.licence} ({chosen.licence_url})")
    got = downloads.get(chosen, target, keep, sources=sources, names=names)
    if as_json:
        console.emit_json({"folder": str(target), "files": {url: _row(file) for url, file in got.have.items()}})
        return
    if got.taken:
        console.say(f"{target}: taken as it was there {', '.join(got.taken)}")
    if got.fetched or not got.taken:
        console.say(f"{target}: fetched {', '.join(got.fetched) or 'nothing: all is there already'}")


def _row(value: object) -> object:
    import msgspec

    return msgspec.to_builtins(value)


def _list(as_json: bool) -> None:
    from provision.data.datasets import table

    sets = table().sets
    if as_json:
        console.emit_json({name: _row(data_set) for name, data_set in sets.items()})
        return
    rows = [(name, _sizes(data_set), data_set.licence, data_set.about) for name, data_set in sets.items()]
    console.table("", ("name", "size", "licence", "what"), rows)
    console.say("  next: provision data get NAME DIR")


def _sizes(data_set: "Set") -> str:
    """The size of the data set, where all of its files' sizes are published."""
    known = sum(file.size for file in data_set.files)
    return console.size(known) if all(file.size for file in data_set.files) else "not published"


def _show_plan(chosen: "Set", target: Path, todo: "list[File]", as_json: bool) -> None:
    if as_json:
        console.emit_json({"folder": str(target), "licence": chosen.licence, "fetch": [_row(file) for file in todo]})
        return
    rows = [
        (file.name, console.size(file.size) if file.size else "?", " and ".join(file.sums) or "pinned at first use",
         "unpacked" if file.unpack else "", file.url)
        for file in todo
    ]  # fmt: skip
    console.table(f"would fetch to {target}", ("file", "size", "sum", "", "from"), rows)
