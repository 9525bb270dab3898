"""`provision data boxes`."""

import shlex
from pathlib import Path

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import NEW, PATH, dry_run_option, json_option

_SAID = {
    "of another size than their picture": "annotations say another size than their picture has, such as {}'s:"
    " boxes are shares of the size that they say, as in convert_annoset",
    "gray": "images are gray, such as {}: a net needs transform_param {{ force_color: true }}, as ssd-voc has",
    "turned by EXIF": "images are turned by EXIF, such as {}: their boxes are right with force_color: true alone;"
    " `exiftran -ai FILE` stores a picture upright",
}


@click.command()
@click.argument("target", metavar="OUT", type=NEW)
@click.option(
    "--train",
    required=True,
    type=PATH,
    help="the training images: a list of images and XML files (VOC), a COCO file, YOLO's YAML file, list or folder, or"
    " a folder of labelme's files",
)
@click.option("--test", required=True, type=PATH, help="the list of test images to score with, in the same form")
@click.option("--root", default=".", type=PATH, help="the folder that the lists' paths are relative to")
@click.option(
    "--classes",
    help="class names in their order: cat,dog, or a file with one name on each line (default: VOC's 20, or those of the"
    " COCO, YOLO or labelme files)",
)
@click.option("--leave-out-others", "others", is_flag=True, help="leave objects of other classes out")
@click.option("--strict", is_flag=True, help="stop at the first image that cannot be used")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="the number of images that are read at the same time",
)
@json_option
@dry_run_option
@on_option
def boxes(
    target: Path, train: Path, test: Path, root: Path, classes: str | None, others: bool, strict: bool, jobs: int,
    as_json: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Make OUT, LMDB databases for SSD and their label map, from images with boxes (VOC, COCO, YOLO, labelme)."""
    from provision.data.boxes import prepare
    from provision.data.drawn import load

    given = _names(classes) if classes is not None else []
    drawn = load(train, root, "train", given)
    names = given or drawn.names
    if dry_run:
        count = {"train": len(drawn.images), "test": len(load(test, root, "test", names).images)}
        console.say(f"would make {target}: {count['train']} images to train with, {count['test']} to test")
        console.say(f"  labels: {', '.join(f'{label} {name}' for label, name in enumerate(names, 1))}")
        return
    with console.step(f"images with boxes → {target}"):
        made = prepare(target, train, test, root, names, others=others, strict=strict, jobs=jobs)
    if as_json:
        console.emit_json(made)
        return
    rows = [(name, made["boxes"]["train"][name], made["boxes"]["test"][name]) for name in names]
    console.table("", ("class", "train", "test"), rows)
    console.say(f"{target}: {made['train']} images to train with, {made['test']} to test")
    for line in _remarks(target, made):
        console.say(f"  {line}")
    if odd := next((name for name in names if "," in name), None):
        console.say(
            f"  a recipe's option `classes` is a list with commas: before ssd-voc, rename {odd!r}, and make OUT again"
        )
        return
    option = shlex.quote(f"classes={','.join(names)}")
    console.say(f"next: provision train ssd-voc --data {target} --set {option} --on NAME")


def _names(given: str) -> list[str]:
    from provision.data.classes import names
    from provision.data.usertext import foreign

    found = names(given)
    if foreign("".join(found)):
        raise UsageError(f"--classes {given} is no text in UTF-8", "save it as UTF-8: names go into the label map")
    if "background" in found:
        raise UsageError(f"--classes {given} names the background", "leave it out: it is label 0 by itself")
    return found


def _remarks(target: Path, made: dict[str, object]) -> list[str]:
    """What the user should know about the objects and images that were left out."""
    said = []
    for kind in ("train", "test"):
        for cause, count in made["dropped"][kind].items():  # type: ignore[index]
            said.append(f"{kind}: {count} objects {cause} are left out")
        if without := made["without_boxes"][kind]:  # type: ignore[index]
            said.append(f"{kind}: {without} images have no object")
        for cause, count in made["remarks"][kind].items():  # type: ignore[index]
            said.append(f"{kind}: {count} {_SAID[cause].format(made['such_as'][cause])}")  # type: ignore[index]
    if made["bad"]:
        said.append(f"{made['bad']} images cannot be used: {target / 'bad.txt'}")
    if made["in_both"]:
        said.append(f"{made['in_both']} images are in both lists: the score will flatter")
    return said
