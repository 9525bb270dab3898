"""`provision data get`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import dry_run_option, json_option

if TYPE_CHECKING:
    from provision.data.download import File, Set


@click.command()
@click.argument("what", metavar="NAME|URL", required=False)
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option("--sha256", default="", metavar="HEX", help="of a URL: refuse any other file")
@click.option("--md5", default="", metavar="HEX", help="the same, where only that is published")
@click.option("--unpack", is_flag=True, help="of a URL: it is an archive (tar or zip)")
@click.option("--keep", is_flag=True, help="keep archives that were unpacked")
@json_option
@dry_run_option
@on_option
def get(
    what: str | None, folder: Path | None, sha256: str, md5: str, unpack: bool, keep: bool, as_json: bool, dry_run: bool
) -> None:
    """Download a data set (or any file) to DIR: with resume, checked, unpacked. Without a name: list them.

    DIR is NAME where it is not given. What is there already is not fetched again.
    """
    from provision.data import download

    if what is None:
        _list(as_json)
        return
    name, chosen = download.find(what, sha256, md5, unpack)
    target = folder or Path(name)
    if target.is_file():
        raise UsageError(f"{target} is a file", "name a folder")
    todo = download.missing(chosen, target)
    if dry_run:
        _show_plan(chosen, target, todo, as_json)
        return
    if chosen.licence:
        console.line(f"{what}: {chosen.about}\n  licence: {chosen.licence} ({chosen.licence_url})")
    have = download.get(chosen, target, keep)
    if as_json:
        console.emit_json({"folder": str(target), "files": {url: _row(one) for url, one in have.items()}})
        return
    fetched = ", ".join(one.name for one in todo) or "nothing: all is there already"
    console.say(f"{target}: fetched {fetched}")


def _row(one: object) -> object:
    import msgspec

    return msgspec.to_builtins(one)


def _list(as_json: bool) -> None:
    from provision.data.download import table

    sets = table().sets
    if as_json:
        console.emit_json({name: _row(one) for name, one in sets.items()})
        return
    rows = [(name, _sizes(one), one.licence, one.about) for name, one in sets.items()]
    console.table("", ("name", "size", "licence", "what"), rows)
    console.say("  next: provision data get NAME DIR")


def _sizes(one: "Set") -> str:
    """What is published of it."""
    known = sum(file.size for file in one.files)
    return console.size(known) if all(file.size for file in one.files) else "not published"


def _show_plan(chosen: "Set", target: Path, todo: "list[File]", as_json: bool) -> None:
    if as_json:
        console.emit_json({"folder": str(target), "licence": chosen.licence, "fetch": [_row(one) for one in todo]})
        return
    rows = [
        (one.name, console.size(one.size) if one.size else "?", " and ".join(one.sums) or "pinned at first use",
         "unpacked" if one.unpack else "", one.url)
        for one in todo
    ]  # fmt: skip
    console.table(f"would fetch to {target}", ("file", "size", "sum", "", "from"), rows)
