"""`provision data visual-genome` and `coco-check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import dry_run_option, json_option

if TYPE_CHECKING:
    from provision.data.coco_kinds import Finding
    from provision.data.visual_genome import Report, Wanted

_FILE = click.Path(path_type=Path)


@click.command("visual-genome")
@click.argument("out", metavar="OUT.json", type=_FILE)
@click.option("--objects", type=_FILE, required=True, help="objects.json, also .zip or .gz")
@click.option("--images", type=_FILE, required=True, help="image_data.json, also .zip or .gz")
@click.option("--classes", default="clothing", show_default=True, metavar="FILE|clothing",
              help="YAML: each class and the names that it goes by")  # fmt: skip
@click.option("--val-fraction", default=0.0, show_default=True, help="share of the pictures for OUT-val.json")
@click.option("--seed", default=1, show_default=True, help="decides which pictures those are")
@click.option("--min-size", default=2.0, show_default=True, help="drop boxes with a shorter side, in pixels")
@click.option("--keep-empty", is_flag=True, help="keep pictures without an object of these classes")
@click.option("--flat", is_flag=True, help="file names without the folder (VG_100K, VG_100K_2)")
@click.option("--stream", is_flag=True, help="read piece by piece: slower, in 0.15 GB")
@json_option
@dry_run_option
@on_option
def visual_genome(
    out: Path, objects: Path, images: Path, classes: str, stream: bool, as_json: bool, dry_run: bool, **given: Any
) -> None:
    """Write Visual Genome's objects as COCO annotations for a list of classes.

    There are no masks in it: train Faster R-CNN with it, not Mask R-CNN.
    """
    from provision.data import classes as lists
    from provision.data.bar import Bar, count
    from provision.data.visual_genome import Wanted, convert, val_path

    wanted = Wanted(lists.load(classes), **given)
    made = [out, *([val_path(out)] if wanted.val_fraction else [])]
    if dry_run:
        files = " and ".join(str(path) for path in made)
        console.say(f"would write {files}: {len(wanted.classes)} classes out of {objects} and {images}")
        return
    show = console.size if stream else count
    with Bar("visual genome", 0, show) as bar:
        report = convert(objects, images, out, wanted, stream, bar.at)
    _show_report(report, wanted, made, as_json)


def _show_report(report: "Report", wanted: "Wanted", made: list[Path], as_json: bool) -> None:
    from provision.data.visual_genome import as_dict

    if as_json:
        console.emit_json({**as_dict(report), "files": [str(path) for path in made]})
        return
    rows = [(name, f"{one['annotations']:,}", f"{one['images']:,}") for name, one in report.classes.items()]
    console.table("", ("class", "annotations", "pictures"), rows)
    lost = [(cause, f"{number:,}") for cause, number in report.dropped.most_common()]
    console.table("", ("left out: objects of these classes", "count"), lost or [("none", "0")])
    read = f"{report.objects:,} objects read, {report.elsewhere:,} of no such class"
    console.say(f"{read}; {report.clipped:,} boxes clipped")
    for path, part in zip(made, (report.train, report.val), strict=False):
        console.say(f"{path}: {part['images']:,} pictures, {part['annotations']:,} annotations")
    console.say(
        f"  NUM_CLASSES is {len(wanted.classes) + 1}; its polygons are boxes: train Faster R-CNN, not Mask R-CNN"
    )
    console.say(f"  next: provision data coco-check {made[0]} --images DIR --num-classes {len(wanted.classes) + 1}")


@click.command("coco-check")
@click.argument("file", type=_FILE)
@click.option("--images", type=_FILE, help="the pictures' folder: are they there, and as large as the file says?")
@click.option("--all", "every", is_flag=True, help="look at every picture (default: 1000, spread evenly)")
@click.option("--num-classes", type=int, help="MODEL.NUM_CLASSES of the training, to be compared")
@click.option("--fix", type=_FILE, metavar="OUT.json", help="write a copy with what can be mended")
@json_option
@dry_run_option
@on_option
def coco_check(
    file: Path, images: Path | None, every: bool, num_classes: int | None, fix: Path | None, as_json: bool,
    dry_run: bool,
) -> int:  # fmt: skip
    """Say whether Detectron can train with FILE: what is missing, what it would drop without a word.

    Ends with 2 where something stops or spoils a training.
    """
    from provision.data.coco_check import check

    findings, counts = check(file, images, None if every else 1000, num_classes)
    if as_json:
        console.emit_json({"file": str(file), **counts, "findings": [vars(one) for one in findings]})
    else:
        _show_findings(file, findings, counts)
    if fix is not None:
        _fix(file, fix, images, dry_run)
    return 2 if any(one.level == "error" for one in findings) else 0


def _show_findings(file: Path, findings: "list[Finding]", counts: dict[str, int]) -> None:
    console.say(
        f"{file}: {counts['images']:,} pictures, {counts['annotations']:,} annotations, "
        f"{counts['categories']} categories: NUM_CLASSES {counts['categories'] + 1}"
    )
    if findings:
        rows = [(one.level, f"{one.count:,}", one.what, one.mend, ", ".join(one.examples)) for one in findings]
        console.table("", ("", "count", "what", "mend", "such as"), rows)
    else:
        console.say("  all that Detectron needs is there")


def _fix(file: Path, target: Path, images: Path | None, dry_run: bool) -> None:
    from provision.data.coco_fix import fix

    done = fix(file, target, images, write=not dry_run)
    what = ", ".join(f"{number:,} {words}" for words, number in done.items()) or "nothing had to be mended"
    console.line(f"{'would write' if dry_run else 'wrote'} {target}: {what}")
