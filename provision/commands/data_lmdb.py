"""`provision data lmdb` and `lmdb-show`."""

from pathlib import Path
from typing import Any

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import NEW, PATH, SEED, dry_run_option, json_option


@click.command()
@click.argument("source", metavar="LIST|DIR", type=PATH)
@click.argument("out", type=NEW)
@click.option(
    "--kind",
    type=click.Choice(["auto", "classes", "pairs", "images", "labels"]),
    default="auto",
    show_default=True,
    help="what each line of the list holds: PATH NUMBER (classes), IMAGE LABELPICTURE (pairs), IMAGE (images)"
    " or LABELPICTURE (labels)",
)
@click.option("--root", type=PATH, help="the folder that the list's paths are relative to (default: the list's folder)")
@click.option("--labels", type=PATH, help="make pairs: this folder has a label picture of the same name for each image")
@click.option(
    "--classes",
    metavar="NAME,...|FILE",
    help="the classes in their order, 0, 1, …, where folders or the ends of lines are names; FILE has one on each line,"
    " as OUT/labels.txt (default: the folders in the order of their names)",
)
@click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", show_default=True)
@click.option(
    "--resize",
    type=click.IntRange(min=1),
    nargs=2,
    metavar="HEIGHT WIDTH",
    help="resize every picture to this size, label pictures by nearest neighbour",
)
@click.option("--gray", is_flag=True, help="convert the pictures to one gray channel")
@click.option("--encoded", is_flag=True, help="store picture files in the records, in place of raw pixels")
@click.option(
    "--encode-type",
    default="",
    metavar="jpg|png",
    help="store picture files of this format (default with --encoded: as they are)",
)
@click.option(
    "--upright", is_flag=True, help="with --encoded, store pictures that EXIF turns as they are shown, encoded anew"
)
@click.option(
    "--pad",
    default=0,
    type=click.IntRange(min=0),
    metavar="SIZE",
    help="pad every picture to a square of this side, in pixels",
)
@click.option(
    "--pad-value", default="0", metavar="B,G,R", help="the colour that pads images; label pictures are padded with 255"
)
@click.option("--shuffle", is_flag=True, help="put the pictures in an order that --seed decides")
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--limit", default=0, type=click.IntRange(min=0), metavar="N", help="convert only the first N pictures")
@click.option("--check-size", is_flag=True, help="treat a picture whose size differs from the first one's as bad")
@click.option(
    "--strict", is_flag=True, help="stop at the first bad picture (default: list bad pictures in OUT/bad.txt)"
)
@click.option("--resume", is_flag=True, help="go on with a conversion that was killed")
@click.option(
    "--jobs", default=0, type=click.IntRange(min=0), help="the number of threads (default: one for each core)"
)
@dry_run_option
@json_option
@on_option
def lmdb(source: Path, out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Make a database for Caffe, OUT, from the pictures in LIST or DIR. Pairs become two databases, OUT/images_lmdb and
    OUT/labels_lmdb.

    The records are, byte for byte, those of Caffe's convert_imageset with the same options.
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
            console.line("the records that were made so far are kept: --resume goes on from there")
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
    from provision.data.classes import names
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
        upright=options.pop("upright"),
    )
    same_size = options.pop("check_size")
    given = options.pop("classes")
    classes = tuple(names(given)) if given is not None else ()
    return Order(source=source, out=out, shape=shape, same_size=same_size, classes=classes, **options)


def _fill(text: str) -> tuple[int, ...]:
    """The numbers for blue, green and red; a single number stands for all three. UsageError where it is none."""
    words = text.split(",")
    if len(words) not in (1, 3) or not all(word.strip().isdigit() and int(word) < 256 for word in words):
        raise UsageError(f"--pad-value {text} is no colour", "blue, green and red, 0 to 255: 104,117,123")
    return tuple(int(word) for word in words * (3 // len(words)))


@click.command(name="lmdb-show")
@click.argument("folder", metavar="DB", type=PATH)
@click.option(
    "--n", "count", default=5, show_default=True, type=click.IntRange(min=0), help="the number of records to show"
)
@click.option(
    "--save",
    type=PATH,
    metavar="DIR",
    help="save their pictures to this folder as PNG, label pictures in VOC's colours",
)
@json_option
@on_option
def lmdb_show(folder: Path, count: int, save: Path | None, as_json: bool) -> None:
    """Show what an LMDB or LevelDB database holds: records, sizes, classes."""
    from provision.data import show

    told = show.look(folder, count)
    saved = show.save(folder, count, save) if save else []
    if as_json:
        console.emit_json({**told, "saved": [str(path) for path in saved]})
        return
    console.say(show.summary(told))
    columns = ("key", "channels", "height", "width", "stored", "bytes", "label")
    console.table("", columns, [[record[column] for column in columns] for record in told["first"]])
    for path in saved:
        console.say(f"saved: {path}")
