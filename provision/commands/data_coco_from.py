"""`provision data coco`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import NEW, PATH, dry_run_option, json_option

if TYPE_CHECKING:
    from provision.data.to_coco import Report

_SHOWN = 5


@click.command("coco")
@click.argument("source", metavar="SOURCE", type=PATH)
@click.argument("out", metavar="OUT.json", type=NEW)
@click.option("--root", default=".", type=PATH, help="the folder of the images: file names are written relative to it")
@click.option(
    "--classes", default="", metavar="NAME,...|FILE", help="the classes that become 1, 2, … (default: all of SOURCE)"
)
@click.option("--leave-out-others", "others", is_flag=True, help="leave objects of other classes out")
@click.option(
    "--form",
    type=click.Choice(["voc", "yolo", "labelme"]),
    help="what SOURCE is, where that cannot be seen by its files",
)
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="train",
    show_default=True,
    help="the set to take of a YAML file (test: its val or test)",
)
@click.option("--strict", is_flag=True, help="stop at the first image that cannot be used")
@click.option(
    "--jobs", default=0, type=click.IntRange(min=0), help="the number of threads (default: one for each core)"
)
@json_option
@dry_run_option
@on_option
def coco(
    source: Path, out: Path, root: Path, classes: str, others: bool, form: str | None, split: str, strict: bool,
    jobs: int, as_json: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Write boxes (VOC's XML, YOLO's text files, labelme's JSON) as COCO annotations for Detectron.

    SOURCE is a list of images and XML files (as voc-lists writes), a folder of XML or JSON files, YOLO's YAML file, or
    a folder or list of images with YOLO's labels.
    """
    from provision.data import box_files
    from provision.data.box_labelme import is_labelme
    from provision.data.classes import names as class_names
    from provision.data.coco import refuse_source
    from provision.data.to_coco import convert

    refuse_source(out, *(sorted(source.rglob("*.json")) if source.is_dir() and is_labelme(out) else [source]))
    names = class_names(classes) if classes else []
    found = box_files.read(source, root, form or "", split, names)  # type: ignore[arg-type]
    if dry_run:
        boxes = sum(len(image.boxes) for image in found.images)
        console.say(f"would write {out}: {len(found.images):,} images with {boxes:,} objects, read as {found.form}")
        console.say(f"  classes: {', '.join(names or found.names)}")
        return
    with console.step(f"{source} ({found.form}) → {out}"):
        report = convert(found, root, out, names, others=others, strict=strict, jobs=jobs)
    if as_json:
        console.emit_json({"file": out, "form": found.form, **vars(report)})
        return
    _show(report, out, root)
    if found.seen and not names:
        commas = any("," in name for name in report.classes)
        given = "FILE (these names, one on each line)" if commas else shlex.quote(",".join(report.classes))
        console.say(
            f"  the classes are those that occur here: give your other sets --classes {given}, for the same numbers"
        )


def _show(report: "Report", out: Path, root: Path) -> None:
    console.table("", ("class", "annotations"), [(name, f"{count:,}") for name, count in report.classes.items()])
    for cause, count in report.dropped.most_common():
        console.say(f"  left out: {count:,} objects {cause}")
    for line in report.bad[:_SHOWN]:
        console.say(f"  left out: {line}")
    if len(report.bad) > _SHOWN:
        console.say(f"  and {len(report.bad) - _SHOWN:,} images more (--json lists all)")
    number = len(report.classes) + 1
    console.say(f"{out}: {report.images:,} images, {report.annotations:,} annotations, NUM_CLASSES is {number}")
    if report.masks < report.annotations:
        rest = report.annotations - report.masks
        console.say(f"  {rest:,} objects have no polygon but their box: train Faster R-CNN, not Mask R-CNN")
    console.say(f"  next: provision data coco-check {out} --images {root} --num-classes {number}")
