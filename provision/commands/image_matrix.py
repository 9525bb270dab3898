"""`provision image matrix --verify`: whether the world still has what images are made of."""

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from infra.errors import HostError, ImageError, UsageError
from provision import console
from provision.commands.options import NEW, Command

if TYPE_CHECKING:
    from images.matrix import Variant
    from images.places import Places
    from images.report import Report


def verify_options(command: Command) -> Command:
    """--verify and what goes with it."""
    options = [
        click.option("--verify", is_flag=True, help="ask the network whether what each row needs is there"),
        click.option("--row", "row", multiple=True, help="verify only this row; may be given several times"),
        click.option("--registry", metavar="HOST",
                     help="ask this registry in place of Docker Hub, for example nvcr.io"),
        click.option("--mirror", multiple=True, metavar="NAME=URL",
                     help="ask this mirror; NAME is debian, debian-security, ubuntu, ubuntu-security (default: this"
                     " machine's apt, PROVISION_DEBIAN_ARCHIVE, PROVISION_UBUNTU_ARCHIVE), python (default: pip's),"
                     " nvidia or github"),
        click.option("--out", type=NEW, metavar="FILE",
                     help="write the report to FILE.json and FILE.md (default: named by date, in the cache folder)"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def ask_the_network(verify: bool, as_json: bool, **asked: Any) -> bool:
    """Do what --verify says; whether it was said."""
    if verify:
        _verify(as_json, **asked)
    elif given := [name for name, value in asked.items() if value]:
        raise UsageError(f"--{given[0]} goes with --verify", "add --verify to ask the network")
    return verify


def _verify(
    as_json: bool, row: tuple[str, ...], registry: str | None, mirror: tuple[str, ...], out: Path | None
) -> None:
    from images import report as matrixreport

    rows, now = _rows(row), datetime.now(timezone.utc)
    files = _files(out, now)
    report = _asked(rows, now, registry, _pairs(mirror))
    for path, text in zip(files, (_json(report), matrixreport.as_markdown(report)), strict=True):
        _write(path, text)
    if as_json:
        print(_json(report), flush=True)
    else:
        _tell(report, files)
    if left_out := matrixreport.left_out(report):
        console.line(left_out)
    _end(report)


def _rows(wanted: tuple[str, ...]) -> "list[Variant]":
    from images.matrix import rows
    from infra.border import did_you_mean

    for name in wanted:
        if name not in rows():
            raise UsageError(f"the matrix has no row {name!r}", did_you_mean(name, rows()))
    return [row for row in rows().values() if not wanted or row.id in wanted]


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(word.partition("=")[::2] for word in words)
    if empty := [name for name, url in pairs.items() if not url]:
        raise UsageError(f"--mirror {empty[0]} names no address", f"write it as --mirror {empty[0]}=URL")
    for name, url in pairs.items():
        try:
            urlsplit(url)
        except ValueError as error:
            raise UsageError(f"--mirror {name}={url}: {error}", f"write it as --mirror {name}=URL") from error
    return pairs


def _asked(rows: "list[Variant]", date: datetime, registry: str | None, mirrors: dict[str, str]) -> "Report":
    """Ask the network, and draw a bar. Ctrl-C ends it with the answers that came by then."""
    from images.asked import subjects
    from images.report import Report
    from images.verify import verify
    from infra.asking import Asker, logins
    from provision.files.bar import Bar, count

    places, addresses = _places(registry, mirrors)
    begun = time.monotonic()
    who = subjects(rows, places)
    asker = Asker(credentials=logins(addresses))
    over = threading.Event()
    with Bar("asked", 0, count) as bar:
        outcome = verify(who, asker, _one_by_one(bar.at, over))
        over.set()
    return Report(f"{date:%Y-%m-%dT%H:%M:%SZ}", time.monotonic() - begun, who, outcome, places.shown())


def _places(registry: str | None, given: dict[str, str]) -> "tuple[Places, list[str]]":
    """Where to ask, without passwords; and the addresses as they were given, which may hold some."""
    from images.places import chosen
    from infra import mirrors
    from infra.asking import without_login
    from infra.shell import LocalShell

    chosen(registry, _clean(given))  # a wrong address is refused before anything runs
    known, archives, snapshots = mirrors.known(given, LocalShell()), mirrors.archives(), mirrors.snapshots()
    places = chosen(registry, _clean(known), _clean(archives), without_login(snapshots))
    return places, " ".join([*known.values(), *archives.values(), snapshots]).split()


def _clean(addresses: dict[str, str]) -> dict[str, str]:
    """The addresses without passwords; a value may hold several addresses with blanks between them."""
    from infra.asking import without_login

    return {name: " ".join(without_login(address) for address in text.split()) for name, text in addresses.items()}


def _one_by_one(at: Callable[[int, int], None], over: threading.Event) -> Callable[[int, int], None]:
    """`at` for several threads; nothing is shown once it is over, for after Ctrl-C some threads still wait."""
    lock = threading.Lock()

    def progress(done: int, total: int) -> None:
        with lock:
            if not over.is_set():
                at(done, total)

    return progress


def _files(out: Path | None, now: datetime) -> tuple[Path, Path]:
    from provision.settings import cache_home

    base = out or cache_home() / "verify" / f"matrix-{now:%Y-%m-%dT%H%M%SZ}"
    base = base.with_suffix("") if base.suffix in (".json", ".md") else base
    return base.with_name(f"{base.name}.json"), base.with_name(f"{base.name}.md")


def _json(report: "Report") -> str:
    from images.report import as_dict

    return json.dumps(as_dict(report), indent=2, sort_keys=True)


def _write(path: Path, text: str) -> None:
    from infra.disk import writing

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n" * (not text.endswith("\n")), encoding="utf-8")


def _tell(report: "Report", files: tuple[Path, Path]) -> None:
    from images.report import SHORT_COLUMNS, lines, short_cells, summary

    console.table("", SHORT_COLUMNS, short_cells(report))
    for line in lines(report):
        console.say(line)
    console.say(f"{report.date}: {summary(report)}")
    console.say(f"  report: {files[1]} and {files[0].name}")


def _end(report: "Report") -> None:
    """Raise the error that the findings stand for: ImageError where something is gone, HostError where an answer is
    missing."""
    from images.report import counts

    found = counts(report)
    if report.outcome.interrupted:
        raise KeyboardInterrupt
    if found["gone"]:
        raise ImageError(
            f"{found['gone']} rows or stacks need something that is gone",
            "take another row (provision image choose), or name a place that has it: --mirror NAME=URL",
        )
    if open_ := found["unreachable"] + found["unclear"]:
        raise HostError(
            f"{open_} rows or stacks could not be asked about to the end", "run it again from another network"
        )
