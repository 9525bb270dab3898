"""`provision data check`."""

from pathlib import Path
from typing import Any

import click

from provision import console
from provision.commands.data_on import on_option
from provision.commands.options import PATH, json_option


@click.command()
@click.argument("targets", metavar="DB|DIR|LIST|PROTOTXT...", nargs=-1, required=True, type=PATH)
@click.option("--test", type=PATH, metavar="DB|LIST", help="compare with this test set: no picture may be in both")
@click.option(
    "--classes",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="the number of classes, num_output (a net tells it by itself)",
)
@click.option(
    "--ignore", default=255, show_default=True, type=int, help="the value in label pictures that stands for no class"
)
@click.option(
    "--limit",
    default=0,
    type=click.IntRange(min=0),
    metavar="SIDE",
    help="the longest side that a picture may have, in pixels",
)
@click.option("--data", type=PATH, metavar="DIR", help="the folder that a net calls /data")
@click.option("--root", type=PATH, metavar="DIR", help="the folder that a list's paths are relative to")
@json_option
@on_option
def check(targets: tuple[Path, ...], ignore: int, as_json: bool, **options: Any) -> int:
    """Find what stops or spoils a training: wrong labels or sizes, missing files, pictures in both train and test.

    The exit code is 2 where there are errors.
    """
    from provision.lint.data import check as run
    from provision.lint.targets import Asked, units

    found = units(list(targets), Asked(ignore=frozenset({ignore}), **options))
    findings = run(found)
    if as_json:
        console.emit_json(
            {"checked": [_told(unit) for unit in found], "findings": [finding.as_json() for finding in findings]}
        )
    else:
        for unit in found:
            console.say(_line(_told(unit)))
        for finding in findings:
            console.say(f"{finding.level}: {finding.where}: {finding.what}")
            console.say(f"  → {finding.mend}")
        if not findings:
            console.say("nothing is wrong")
    return 2 if any(finding.level == "error" for finding in findings) else 0


def _told(unit: Any) -> dict[str, Any]:
    values = (unit.labels or unit.images).values()
    return {
        "images": unit.images.where,
        "labels": unit.labels.where if unit.labels else None,
        "phase": unit.phase,
        "records": len(unit.images.records),
        "sizes": {" x ".join(map(str, size)): count for size, count in unit.images.sizes().most_common()},
        "histogram": {str(value): values[value] for value in sorted(values)},
        "classes": unit.classes,
    }


def _line(told: dict[str, Any]) -> str:
    words = f"{told['images']}: {told['records']} records"
    words += f" ({told['phase']})" if told["phase"] else ""
    sizes = list(told["sizes"])
    words += f", {sizes[0]}" if len(sizes) == 1 else f", {len(sizes)} sizes"
    counts = [f"{value}: {count}" for value, count in told["histogram"].items()]
    what = "pixels of each label" if told["labels"] else "labels"
    return f"{words}\n  {what}: {', '.join(counts[:30])}{' …' if len(counts) > 30 else ''}"
