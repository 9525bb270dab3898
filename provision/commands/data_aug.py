"""`provision data voc-aug`."""

from pathlib import Path

import click

from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import PATH, dry_run_option, json_option


@click.command("voc-aug")
@click.argument("source", metavar="SBD", type=PATH)
@click.argument("kit", metavar="DEVKIT", type=PATH)
@click.option(
    "--jobs", default=0, type=click.IntRange(min=0), help="the number of threads (default: one for each core)"
)
@dry_run_option
@json_option
@on_option
def voc_aug(source: Path, kit: Path, jobs: int, dry_run: bool, as_json: bool) -> None:
    """Add SBD's labels to VOC2012's kit: the set trainaug, 10,582 images in place of 1,464.

    SBD is benchmark_RELEASE, as `provision data get sbd` brings it. Made are DEVKIT/VOC2012/SegmentationClassAug and
    ImageSets/Segmentation/trainaug.txt there.
    """
    import msgspec

    from provision.data import voc_aug as aug

    if dry_run:
        planned = aug.plan(source, kit)
        console.say(f"would make {kit / 'VOC2012' / aug.LABELS}: {len(planned.labels):,} labels")
        return
    with console.step(f"{source} → {kit / 'VOC2012' / aug.LABELS}"):
        made = aug.prepare(source, kit, jobs)
    if as_json:
        console.emit_json(msgspec.to_builtins(made))
        return
    there = "is there already" if made.found else "made"
    console.say(f"{kit / 'VOC2012' / aug.LABELS} {there}: {made.voc:,} labels of VOC, {made.sbd:,} of SBD")
    if made.missing:
        console.say(f"  {len(made.missing):,} files are missing, and left out; the first: {made.missing[0]}")
    console.say(f"next: provision data crfrnn {kit} DIR --augmented")
    console.say(f"  or: provision data voc-lists {kit} lists --segmentation --sets trainaug,val --years 2012")
