"""`provision data digits`."""

import json
from pathlib import Path

import click

from provision import console
from provision.commands.options import NEW, SEED


@click.command()
@click.argument("folder", metavar="DIR", type=NEW)
@click.option("--seed", type=SEED, default=1, show_default=True, help="the seed that decides which images are held out")
@click.option("--test-fraction", default=0.2, show_default=True, help="the share of each class that is held out")
@click.option("--json", "as_json", is_flag=True, help="print data.json")
@click.option("--dry-run", is_flag=True, help="print what would be made, and make nothing")
def digits(folder: Path, seed: int, test_fraction: float, as_json: bool, dry_run: bool) -> None:
    """Make DIR: LMDB databases for Caffe of scikit-learn's 1,797 digits."""
    if dry_run:
        console.say(f"would make {folder}: train_lmdb, test_lmdb, data.json (seed {seed}, test {test_fraction:g})")
        return
    from provision.data.digits import prepare

    with console.step(f"digits → {folder}"):
        prepare(folder, test_fraction=test_fraction, seed=seed)
    made = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    if as_json:
        console.emit_json(made)
        return
    console.say(f"{folder}: {made['train']} images to train with, {made['test']} held out")
    console.say("next: provision train digits --on NAME")
