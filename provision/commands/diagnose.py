"""`diagnose`: why a training failed, diverged or stands still."""

from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import RUN_OR_FILE, cloud_options, json_option, metrics_option

if TYPE_CHECKING:
    from provision.logs.cause import Cause, Diagnosis
    from provision.logs.metrics.asked import Asked


@click.command()
@click.argument("name", metavar="RUN|FILE", type=RUN_OR_FILE)
@click.option(
    "--exit-code",
    type=int,
    help="the exit code of the program that wrote FILE, if you know it: 137 means killed, 139 crashed, 127 not found",
)
@metrics_option
@json_option
@cloud_options
def diagnose(name: str, exit_code: int | None, metrics: str, as_json: bool, **flags: Any) -> None:
    """Say what went wrong in a training, which line shows it, and what helps.

    RUN is a training's id. FILE is any program's log on this machine (- for the standard input). Of several
    starts in one log it diagnoses the last, and tells in a line how each earlier one ended.
    """
    from provision.logs.cause import told
    from provision.logs.metrics.asked import asked

    found = _found(name, exit_code, asked(metrics), flags)
    if as_json:
        console.emit_json(told(found))
        return
    if found.causes:
        _show(found.causes)
        if found.causes[0].kind in ("divergence", "learning"):
            console.say(f"the log: {found.ending.text}")
    elif found.ending.word == "well":
        console.say(f"{name}: {found.ending.text}")
    else:
        last = f"see its last lines: {clouds.hint(f'logs {name}', **flags)} | tail"
        console.say(f"{name}: no known failure: {found.ending.text}; {last}")
    _show_rest(found)


def _found(name: str, exit_code: int | None, asked: "Asked", flags: dict[str, Any]) -> "Diagnosis":
    from provision.logs import absence, read
    from provision.logs import diagnose as reading

    if read.is_file(name):
        with read.open_file(name, asked) as log:
            state = "failed" if exit_code else ""
            found = reading.diagnose(log, reading.Facts(state=state, exit_code=exit_code))
            if not found.causes and not found.heard:
                raise absence.error(log)
            return found
    if (wrong := read.refused(name, clouds.hint("runs", **flags))) is not None:
        raise wrong
    if exit_code is not None:
        raise UsageError(
            "the exit code of a run is known already; leave out --exit-code", clouds.hint(f"diagnose {name}", **flags)
        )
    from provision.engines import where
    from provision.runs import report

    return report.diagnosis(where.find(name, lambda: clouds.session(**flags).cloud), asked)


def _show(found: "list[Cause]") -> None:
    cause, *others = found
    console.say(f"{cause.name}: {cause.what}")
    if cause.line:
        console.say(f"  line {cause.line}: {cause.text}")
    if cause.place:
        console.say(f"  where: {cause.place}")
    if cause.why:
        console.say(f"  why: {cause.why}")
    for number, mend in enumerate(cause.mends, 1):
        console.say(f"  {number}. {mend}")
    for cause in others:
        console.say(f"also, {f'line {cause.line}, ' * bool(cause.line)}{cause.name}: {cause.what}")


def _show_rest(found: "Diagnosis") -> None:
    """What stopped nothing, and how earlier attempts ended."""
    for cause in found.seen:
        console.say(f"seen on the way, {f'line {cause.line}, ' * bool(cause.line)}{cause.name}: {cause.what}")
    for one in found.earlier:
        by = f", by line {one.cause.line} ({one.cause.name})" if one.cause and one.cause.line else ""
        lines = f"attempt {one.number} of {found.attempts}, lines {one.first} to {one.last}"
        console.say(f"{lines}: {one.ending.text}{by}")
