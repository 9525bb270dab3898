"""`diagnose`: why a training failed, diverged or stands still."""

from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import RUN_OR_FILE, cloud_options, json_option

if TYPE_CHECKING:
    from provision.logs.diagnose import Cause


@click.command()
@click.argument("name", metavar="RUN|FILE", type=RUN_OR_FILE)
@click.option(
    "--exit-code",
    type=int,
    help="the exit code of the program that wrote FILE, if you know it: 137 means killed, 139 crashed",
)
@json_option
@cloud_options
def diagnose(name: str, exit_code: int | None, as_json: bool, **flags: Any) -> None:
    """Say what went wrong in a training, which line shows it, and what helps.

    RUN is a training's id. FILE is any log of Caffe or Detectron on this machine (- for the standard input).
    """
    from provision.logs.diagnose import as_dict

    found = _found(name, exit_code, flags)
    if as_json:
        console.emit_json([as_dict(cause) for cause in found])
    elif found:
        _show(found)
    else:
        console.say(f"{name}: no known failure; see its last lines: {clouds.hint(f'logs {name}', **flags)} | tail")


def _found(name: str, exit_code: int | None, flags: dict[str, Any]) -> "list[Cause]":
    from provision.logs import diagnose as reading
    from provision.logs import read

    if read.is_file(name):
        with read.open_file(name) as log:
            return reading.diagnose(log, reading.Facts(exit_code=exit_code))
    if exit_code is not None:
        raise UsageError(
            "the exit code of a run is known already; leave out --exit-code", clouds.hint(f"diagnose {name}", **flags)
        )
    from provision.runs import report, store

    return report.diagnosis(store.find(clouds.session(**flags).cloud, name))


def _show(found: "list[Cause]") -> None:
    cause, *others = found
    console.say(f"{cause.name}: {cause.what}")
    if cause.line:
        console.say(f"  line {cause.line}: {cause.text}")
    if cause.why:
        console.say(f"  why: {cause.why}")
    for number, mend in enumerate(cause.mends, 1):
        console.say(f"  {number}. {mend}")
    for cause in others:
        console.say(f"also, {f'line {cause.line}, ' * bool(cause.line)}{cause.name}: {cause.what}")
