"""`diagnose`: why a training failed, diverged or stands still."""

from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console, settings
from provision.commands.options import cloud_options, json_option

if TYPE_CHECKING:
    from provision.diagnose import Finding


@click.command()
@click.argument("name", metavar="RUN|FILE")
@click.option("--exit-code", type=int, help="of FILE's program, if you know it: 137 means killed, 139 crashed")
@json_option
@cloud_options
def diagnose(name: str, exit_code: int | None, as_json: bool, **flags: Any) -> None:
    """Say what went wrong in a training, the line that shows it, and what helps.

    RUN is a training's id, FILE any log of Caffe or Detectron on this machine (- for the standard input).
    """
    from provision.diagnose import as_dict

    found = _found(name, exit_code, flags)
    if as_json:
        console.emit_json([as_dict(one) for one in found])
    elif found:
        _show(found)
    else:
        console.say(f"{name}: no failure that is known; its last lines: provision logs {name} | tail")


def _found(name: str, exit_code: int | None, flags: dict[str, Any]) -> "list[Finding]":
    from provision import diagnose as reading
    from provision import logfiles

    if logfiles.is_file(name):
        with logfiles.open_file(name) as log:
            return reading.diagnose(log, reading.Facts(exit_code=exit_code))
    if exit_code is not None:
        raise UsageError("a run's exit code is known", f"provision diagnose {name}")
    from provision import progress, runs

    return progress.diagnosis(runs.find(clouds.resolve(settings.load(**flags)), name))


def _show(found: "list[Finding]") -> None:
    cause, *others = found
    console.say(f"{cause.name}: {cause.what}")
    if cause.line:
        console.say(f"  line {cause.line}: {cause.text}")
    if cause.why:
        console.say(f"  why: {cause.why}")
    for number, mend in enumerate(cause.mends, 1):
        console.say(f"  {number}. {mend}")
    for one in others:
        console.say(f"also, {f'line {one.line}, ' * bool(one.line)}{one.name}: {one.what}")
