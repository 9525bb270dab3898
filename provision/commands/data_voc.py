"""`provision data voc-lists` and `voc-labels`."""

from pathlib import Path
from typing import Any

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import NEW, PATH, SEED, dry_run_option, json_option


@click.command(name="voc-lists")
@click.argument("kit", metavar="DEVKIT", type=PATH)
@click.argument("out", type=PATH)
@click.option(
    "--sets",
    default="trainval,test",
    show_default=True,
    help="the lists to make: trainval, test, train, val, or trainaug (see voc-aug)",
)
@click.option(
    "--years",
    default="2007,2012",
    show_default=True,
    help="VOC's years to use; test is of 2007 alone, for 2012's is not public",
)
@click.option("--segmentation", is_flag=True, help="list images with label pictures in place of annotations")
@click.option("--classes", default="", metavar="NAME,...", help="list only images that show one of these classes")
@click.option(
    "--seed",
    type=SEED,
    default=1,
    show_default=True,
    help="the seed that decides the order; test and val keep VOC's order",
)
@click.option(
    "--strict", is_flag=True, help="refuse a kit that lacks files (default: list missing files in OUT/missing.txt)"
)
@dry_run_option
@json_option
@on_option
def voc_lists(kit: Path, out: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Write VOC2007+2012's lists to OUT: trainval.txt and test.txt (images and annotations), test_name_size.txt."""
    from provision.data import classes, devkit

    for name in ("sets", "years"):
        options[name] = tuple(word for word in options[name].split(",") if word)
    options["classes"] = tuple(classes.names(options["classes"])) if options["classes"] else ()
    listed = devkit.read(devkit.Wanted(kit, **options))
    files = [] if dry_run else devkit.write(listed, kit, out)
    counts = {name: len(lines) for name, lines in listed.sets.items()}
    if as_json:
        console.emit_json({"sets": counts, "missing": listed.missing, "files": files})
        return
    for name, count in counts.items():
        console.say(f"{'would list' if dry_run else out / f'{name}.txt'}: {count} images of {name}")
    if listed.missing:
        where = "" if dry_run else f": {out / 'missing.txt'}"
        console.say(f"{len(listed.missing)} files of the kit's lists are missing, and left out{where}")
    if options["segmentation"] and not dry_run:
        console.say(f"next: provision data lmdb {files[0]} DIR --root {kit}")


@click.command(name="voc-labels")
@click.argument("source", metavar="IN", type=PATH)
@click.argument("out", type=NEW)
@click.option(
    "--classes",
    default="",
    metavar="NAME,...",
    help="the classes that become labels 1, 2, … (default: all as they are)",
)
@click.option(
    "--colours",
    type=PATH,
    metavar="FILE",
    help="other colours than VOC's: R,G,B NAME on each line, class 0 first; the name ignore stands for 255",
)
@click.option(
    "--map", "mapped", default="", metavar="FROM:TO,...", help="give gray values another class: 255:1 for white masks"
)
@click.option("--others", type=click.Choice(["background", "ignore"]), default="background", show_default=True)
@click.option("--unknown", type=click.Choice(["error", "ignore", "background"]), default="error", show_default=True)
@click.option(
    "--by-number", is_flag=True, help="take a picture's palette numbers as its classes, whatever their colours"
)
@click.option(
    "--jobs", default=0, type=click.IntRange(min=0), help="the number of threads (default: one for each core)"
)
@dry_run_option
@json_option
@on_option
def voc_labels(source: Path, out: Path, jobs: int, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Make gray PNGs of class indices from coloured label pictures, VOC's or by --colours: of a file, or of a folder.

    The void border becomes 255, the label that a training ignores.
    """
    import msgspec

    from provision.data import classes, colours, labels, voc

    chosen = options.pop("classes")
    names = tuple(classes.names(chosen)) if chosen else ()
    given, numbers = options.pop("colours"), _numbers(options.pop("mapped"))
    table = colours.read(given) if given else colours.VOC
    rule = labels.Rule(classes=names, colours=table, numbers=numbers, **options)
    if dry_run:
        count = 1 if source.is_file() else len(labels.pictures_of(source))
        console.say(f"would make {out} of {count} label pictures")
        return
    with console.step(f"{source} → {out}"):
        made = labels.convert(source, out, rule, jobs)
    if as_json:
        console.emit_json(msgspec.to_builtins(made))
        return
    shown = dict(enumerate((table.names[0], *names) if names else table.names)) | {voc.IGNORE: "ignored"}
    console.say(f"{out}: {made.pictures} label pictures")
    total = sum(made.pixels.values())
    for value, count in made.pixels.items():
        console.say(f"  {value:3} {shown.get(value, ''):12} {100 * count / total:6.2f} % of the pixels")


def _numbers(text: str) -> dict[int, int]:
    """The gray values of --map, and what each becomes. UsageError for other words."""
    pairs = [word.split(":") for word in text.split(",") if word]
    if not all(len(pair) == 2 and all(word.isdigit() and int(word) < 256 for word in pair) for pair in pairs):
        raise UsageError(f"--map {text} is no list of FROM:TO", "write numbers from 0 to 255: --map 255:1")
    if len({int(old) for old, _ in pairs}) < len(pairs):
        raise UsageError(f"--map {text} gives one value two classes", "name each value once")
    return {int(old): int(new) for old, new in pairs}
