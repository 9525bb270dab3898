"""`provision data mean` and `sizes`."""

from pathlib import Path

import click

from infra.errors import UsageError
from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import NEW, PATH, dry_run_option, json_option


@click.command()
@click.argument("database", metavar="DB", type=PATH)
@click.argument("out", metavar="OUT.binaryproto", type=NEW)
@click.option("--npy", is_flag=True, help="write the mean as a numpy array, too, beside OUT")
@click.option(
    "--jobs", default=0, type=click.IntRange(min=0), help="the number of threads (default: one for each core)"
)
@dry_run_option
@json_option
@on_option
def mean(database: Path, out: Path, npy: bool, jobs: int, dry_run: bool, as_json: bool) -> None:
    """Write a database's mean picture, as Caffe's compute_image_mean does, and print each channel's mean."""
    import msgspec

    from provision.data.mean import mean as average

    if dry_run:
        console.say(f"would write {out}" + (f" and {out.with_suffix('.npy')}" if npy else ""))
        return
    made = average(database, out, npy=npy, jobs=jobs)
    if as_json:
        console.emit_json(msgspec.to_builtins(made))
        return
    console.say(f"{out}: the mean of {made.records} pictures, {' x '.join(map(str, made.shape))}")
    names = ("blue", "green", "red") if len(made.channels) == 3 else range(len(made.channels))
    for name, value in zip(names, made.channels, strict=True):
        console.say(f"  {name}: {value:.4f}")
    console.say(f"  transform_param {{ {' '.join(f'mean_value: {value:.4f}' for value in made.channels)} }}")


@click.command()
@click.argument("source", metavar="LIST|DIR", type=PATH)
@click.argument("out", type=NEW)
@click.option("--root", type=PATH, help="the folder that the list's paths are relative to (default: the list's folder)")
@click.option(
    "--jobs", default=0, type=click.IntRange(min=0), help="the number of threads (default: one for each core)"
)
@dry_run_option
@on_option
def sizes(source: Path, out: Path, root: Path | None, jobs: int, dry_run: bool) -> None:
    """Write a line `NAME HEIGHT WIDTH` for each picture of a list, as SSD's evaluation needs it."""
    from provision.data import lists
    from provision.data.sizes import refuse_other, size_lines

    found = lists.load(source, root=root, kind="images" if source.is_dir() else "auto")
    if dry_run:
        console.say(f"would write {out}: {len(found.entries)} sizes")
        return
    if out.exists() and out.samefile(source):
        raise UsageError(f"{out} is the list itself", "name a new file")
    refuse_other(out)
    lines = list(size_lines(found.at, [entry.path for entry in found.entries], jobs))
    lists.write_lines(out, lines)
    console.say(f"{out}: {len(lines)} sizes")
