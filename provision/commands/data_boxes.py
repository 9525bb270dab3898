"""`provision data boxes`."""

from pathlib import Path

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import dry_run_option, json_option


@click.command()
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--train", required=True, type=click.Path(path_type=Path), help="list: an image and its XML on a line")
@click.option("--test", required=True, type=click.Path(path_type=Path), help="the same, for scoring")
@click.option("--root", default=".", type=click.Path(path_type=Path), help="the folder that the lists' paths begin in")
@click.option("--classes", help="cat,dog or a file with one on a line, in their order (default: VOC's twenty)")
@click.option("--leave-out-others", "others", is_flag=True, help="leave objects of other classes out")
@click.option("--strict", is_flag=True, help="end at the first image that cannot be used")
@click.option("--jobs", type=click.IntRange(1), default=4, show_default=True, help="images read at a time")
@json_option
@dry_run_option
@on_option
def boxes(
    target: Path, train: Path, test: Path, root: Path, classes: str | None, others: bool, strict: bool, jobs: int,
    as_json: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Make OUT of images with boxes (VOC's XML): LMDB databases for SSD, and their label map."""
    from provision.data.annotated import prepare, read_list

    names = _names(classes)
    if dry_run:
        count = {kind: len(read_list(path)) for kind, path in (("train", train), ("test", test))}
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
    console.say(f"next: provision train ssd-voc --data {target} --set classes={','.join(names)} --on NAME")


def _names(given: str | None) -> list[str]:
    from provision import voc

    if given is None:
        return list(voc.CLASSES[1:])
    text = Path(given).read_text(encoding="utf-8").replace("\n", ",") if Path(given).is_file() else given
    names = [one.strip() for one in text.split(",") if one.strip()]
    if not names or len(set(names)) < len(names) or "background" in names:
        raise UsageError(f"--classes {given}: no list of different names", "background is label 0 by itself")
    return names


def _remarks(target: Path, made: dict[str, object]) -> list[str]:
    """What the user should know about what was left out."""
    said = []
    for kind in ("train", "test"):
        for cause, count in made["dropped"][kind].items():  # type: ignore[index]
            said.append(f"{kind}: {count} objects {cause} are left out")
        if without := made["without_boxes"][kind]:  # type: ignore[index]
            said.append(f"{kind}: {without} images have no object")
    if made["bad"]:
        said.append(f"{made['bad']} images cannot be used: {target / 'bad.txt'}")
    if made["in_both"]:
        said.append(f"{made['in_both']} images are in both lists: the score will flatter")
    return said
