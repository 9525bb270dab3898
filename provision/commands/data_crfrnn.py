"""`provision data crfrnn`."""

import json
from pathlib import Path

import click

from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import NEW, PATH, dry_run_option, json_option


@click.command()
@click.argument("kit", metavar="DEVKIT", type=PATH)
@click.argument("out", metavar="DIR", type=NEW)
@click.option(
    "--classes", default="", metavar="NAME,...", help="the classes that become labels 1, 2, … (default: VOC's 20)"
)
@click.option(
    "--years",
    default="2012",
    show_default=True,
    metavar="YEAR,...",
    help="VOC's years to use; 2007 as well, where the kit has it",
)
@click.option("--augmented", is_flag=True, help="train on VOC2012 with SBD's labels (trainaug: see voc-aug)")
@click.option("--size", default=500, show_default=True, help="pad images to this side, in pixels")
@click.option(
    "--jobs", default=0, type=click.IntRange(min=0), help="the number of threads (default: one for each core)"
)
@dry_run_option
@json_option
@on_option
def crfrnn(
    kit: Path, out: Path, classes: str, years: str, augmented: bool, size: int, jobs: int, dry_run: bool, as_json: bool
) -> None:
    """Make DIR from VOC's segmentations for the recipe crfrnn: images and labels in train/ and test/.

    DEVKIT is the unpacked kit (VOCdevkit). train/ holds VOC's set train (or trainaug), and test/ its set val.
    """
    from provision.data import crfrnn as made
    from provision.data import devkit
    from provision.data.classes import names as class_names

    names = tuple(class_names(classes)) if classes else ()
    of = tuple(word for word in years.split(",") if word)
    if dry_run:
        listed = devkit.read(devkit.Wanted(kit, tuple(made.sets_of(augmented).values()), of, names, segmentation=True))
        counts = {phase: len(listed.sets[name]) for phase, name in made.sets_of(augmented).items()}
        if as_json:
            console.emit_json(counts)
        else:
            console.say(f"would make {out}: {counts['train']} images to train with, {counts['test']} to test with")
        return
    with console.step(f"{kit} → {out}"):
        made.prepare(kit, out, classes=names, years=of, size=size, augmented=augmented, jobs=jobs)
    facts = json.loads((out / "data.json").read_text(encoding="utf-8"))
    if as_json:
        console.emit_json(facts)
        return
    console.say(f"{out}: {facts['train']} images to train with, {facts['test']} to test with")
    console.say(f"next: provision train crfrnn --data {out}{_options(names, size)} --on NAME")


def _options(names: tuple[str, ...], size: int) -> str:
    chosen = f" --set classes={','.join(names)}" if names else ""
    return chosen + (f" --set size={size}" if size != 500 else "")
