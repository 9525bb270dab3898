"""`provision data visual-genome` and `coco-check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import NEW, PATH, SEED, dry_run_option, json_option

if TYPE_CHECKING:
    from provision.data.coco_kinds import CocoFault
    from provision.data.visual_genome import Report, Wanted


@click.command("visual-genome")
@click.argument("out", metavar="OUT.json", type=NEW)
@click.option("--objects", type=PATH, required=True, help="Visual Genome's objects.json, plain or as .zip or .gz")
@click.option("--images", type=PATH, required=True, help="Visual Genome's image_data.json, plain or as .zip or .gz")
@click.option("--classes", default="clothing", show_default=True, metavar="FILE|clothing",
              help="a YAML file of each class and its names in Visual Genome")  # fmt: skip
@click.option(
    "--val-fraction", default=0.0, show_default=True, help="the share of the pictures that goes to OUT-val.json"
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="the seed that decides which pictures go there")
@click.option("--min-size", default=2.0, show_default=True, help="drop boxes with a side shorter than this, in pixels")
@click.option("--keep-empty", is_flag=True, help="keep pictures without an object of these classes")
@click.option("--flat", is_flag=True, help="write file names without their folder (VG_100K, VG_100K_2)")
@click.option("--stream", is_flag=True, help="read the files piece by piece: slower, but needs only 0.15 GB of memory")
@json_option
@dry_run_option
@on_option
def visual_genome(
    out: Path, objects: Path, images: Path, classes: str, stream: bool, as_json: bool, dry_run: bool, **given: Any
) -> None:
    """Write Visual Genome's objects as COCO annotations for a list of classes.

    The annotations hold no masks: train Faster R-CNN with them, not Mask R-CNN.
    """
    from provision.data import classes as lists
    from provision.data.visual_genome import Wanted, convert, val_path
    from provision.files.bar import Bar, count

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
    rows = [(name, f"{counts['annotations']:,}", f"{counts['images']:,}") for name, counts in report.classes.items()]
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
@click.argument("file", type=PATH)
@click.option("--images", type=PATH, help="check in this folder that the pictures exist and are as large as FILE says")
@click.option("--all", "every", is_flag=True, help="check every picture (default: 1000 of them, spread evenly)")
@click.option("--num-classes", type=int, help="compare with the training's MODEL.NUM_CLASSES")
@click.option("--fix", type=NEW, metavar="OUT.json", help="write a copy in which all that can be mended is mended")
@json_option
@dry_run_option
@on_option
def coco_check(
    file: Path, images: Path | None, every: bool, num_classes: int | None, fix: Path | None, as_json: bool,
    dry_run: bool,
) -> int:  # fmt: skip
    """Say whether Detectron can train with FILE: what is missing, and what Detectron would drop without a word.

    The exit code is 2 where something stops or spoils a training.
    """
    from provision.data.coco_check import check

    findings, counts = check(file, images, None if every else 1000, num_classes)
    if as_json:
        console.emit_json({"file": str(file), **counts, "findings": [vars(finding) for finding in findings]})
    else:
        _show_findings(file, findings, counts)
    if fix is not None:
        _fix(file, fix, images, dry_run)
    return 2 if any(finding.level == "error" for finding in findings) else 0


def _show_findings(file: Path, findings: "list[CocoFault]", counts: dict[str, int]) -> None:
    console.say(
        f"{file}: {counts['images']:,} pictures, {counts['annotations']:,} annotations, "
        f"{counts['categories']} categories: NUM_CLASSES {counts['categories'] + 1}"
    )
    if findings:
        rows = [
            (finding.level, f"{finding.count:,}", finding.what, finding.mend, ", ".join(finding.examples))
            for finding in findings
        ]
        console.table("", ("", "count", "what", "mend", "such as"), rows)
    else:
        console.say("  all that Detectron needs is there")


def _fix(file: Path, target: Path, images: Path | None, dry_run: bool) -> None:
    from provision.data.coco_fix import fix

    done = fix(file, target, images, write=not dry_run)
    what = ", ".join(f"{number:,} {words}" for words, number in done.items()) or "a plain copy, nothing was mended"
    console.line(f"{'would write' if dry_run else 'wrote'} {target}: {what}")
