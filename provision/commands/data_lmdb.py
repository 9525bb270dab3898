"""`provision data lmdb` and `lmdb-show`."""

from pathlib import Path
from typing import Any

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import dry_run_option, json_option

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("source", metavar="LIST|DIR", type=_PATH)
@click.argument("out", type=_PATH)
@click.option(
    "--kind",
    type=click.Choice(["auto", "classes", "pairs", "images", "labels"]),
    default="auto",
    show_default=True,
    help="what lines hold: PATH NUMBER, IMAGE LABELPICTURE, IMAGE, LABELPICTURE",
)
@click.option("--root", type=_PATH, help="what the list's paths start from (default: the list's folder)")
@click.option("--labels", type=_PATH, help="a folder with a label picture for each image, by its name: makes pairs")
@click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", show_default=True)
@click.option("--resize", type=click.IntRange(min=1), nargs=2, metavar="HEIGHT WIDTH", help="labels: to the nearest")
@click.option("--gray", is_flag=True, help="one channel")
@click.option("--encoded", is_flag=True, help="picture files in the records, in place of raw pixels")
@click.option("--encode-type", default="", metavar="jpg|png", help="encoded, all as this (default: each as it is)")
@click.option("--pad", default=0, type=click.IntRange(min=0), metavar="SIZE", help="fill up to a square of this side")
@click.option("--pad-value", default="0", metavar="B,G,R", help="with this, images; labels with 255")
@click.option("--shuffle", is_flag=True, help="in an order that --seed decides")
@click.option("--seed", default=1, show_default=True)
@click.option("--limit", default=0, type=click.IntRange(min=0), metavar="N", help="the first N only")
@click.option("--check-size", is_flag=True, help="a picture of another size than the first is bad")
@click.option("--strict", is_flag=True, help="stop at the first bad picture; else they are listed in OUT/bad.txt")
@click.option("--resume", is_flag=True, help="go on with a conversion that was killed")
@click.option("--jobs", default=0, type=click.IntRange(min=0), help="threads (default: one for each core)")
@dry_run_option
@json_option
@on_option
def lmdb(source: Path, out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Make databases for Caffe of the pictures in LIST or DIR: OUT, or for pairs OUT/images_lmdb and OUT/labels_lmdb.

    Records are, byte for byte, those of Caffe's convert_imageset with the same options.
    """
    import msgspec

    from provision.data.convert import convert, plan

    order = _order(source, out, options)
    if dry_run:
        planned = plan(order)
        databases = [str(out / name) for name in planned.databases]
        if as_json:
            console.emit_json({"kind": planned.kind, "pictures": len(planned.entries), "databases": databases})
        else:
            console.say(f"would make {', '.join(databases)} of {len(planned.entries)} {_word(planned.kind)}")
        return
    with console.step(f"{source} → {out}"):
        try:
            made = convert(order)
        except KeyboardInterrupt:
            console.line("what was made so far is kept: --resume goes on from there")
            raise
    if as_json:
        console.emit_json(msgspec.to_builtins(made))
        return
    what = "is there already" if made.found else "made"
    console.say(f"{out} {what}: {made.records} records from {_word(made.kind)} ({made.backend})")
    if made.bad:
        console.say(f"{made.bad} bad pictures are not in it: {out / 'bad.txt'} says why")
    console.say(f"next: provision data check {out}")


def _word(kind: str) -> str:
    return {
        "classes": "pictures with classes",
        "pairs": "images with label pictures",
        "images": "images",
        "labels": "label pictures",
    }[kind]


def _order(source: Path, out: Path, options: dict[str, Any]) -> Any:
    from provision.data.convert import Order
    from provision.data.pictures import Shape

    encode = options.pop("encode_type").lower() or ("auto" if options["encoded"] else "")
    del options["encoded"]
    shape = Shape(
        resize=options.pop("resize") or None,
        gray=options.pop("gray"),
        pad=options.pop("pad"),
        fill=_fill(options.pop("pad_value")),
        encode=encode,
    )
    same_size = options.pop("check_size")
    return Order(source=source, out=out, shape=shape, same_size=same_size, **options)


def _fill(text: str) -> tuple[int, ...]:
    """Blue, green, red; one number stands for all."""
    words = text.split(",")
    if len(words) not in (1, 3) or not all(word.strip().isdigit() and int(word) < 256 for word in words):
        raise UsageError(f"--pad-value {text} is no colour", "blue, green and red, 0 to 255: 104,117,123")
    return tuple(int(word) for word in words * (3 // len(words)))


@click.command(name="lmdb-show")
@click.argument("folder", metavar="DB", type=_PATH)
@click.option("--n", "count", default=5, show_default=True, type=click.IntRange(min=0), help="records to show")
@click.option("--save", type=_PATH, metavar="DIR", help="and their pictures as PNG; labels in VOC's colours")
@json_option
@on_option
def lmdb_show(folder: Path, count: int, save: Path | None, as_json: bool) -> None:
    """What is in a database: records, sizes, classes. LMDB or LevelDB."""
    from provision.data import show

    told = show.look(folder, count)
    saved = show.save(folder, count, save) if save else []
    if as_json:
        console.emit_json({**told, "saved": [str(path) for path in saved]})
        return
    console.say(show.summary(told))
    columns = ("key", "channels", "height", "width", "stored", "bytes", "label")
    console.table("", columns, [[one[column] for column in columns] for one in told["first"]])
    for path in saved:
        console.say(f"saved: {path}")
