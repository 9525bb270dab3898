"""`provision net lint`, and the group of all words on nets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.net_show import data_option, file_argument, shape_option, shapes_of, show
from provision.commands.net_upgrade import upgrade
from provision.commands.options import WORDS, Command, json_option

if TYPE_CHECKING:
    from provision.lint.net import NetReport, Read
    from provision.net.schema import Schema

_ALSO = 2  # errors of one kind whose words are told beside the first's
_LINES = 8  # of the others


@click.group()
def net() -> None:
    """Draw a net, or find what is wrong with it, before anything runs."""


def _schema_options(command: Command) -> Command:
    """Add --stack, --source and --source-mirror."""
    stack = click.option(
        "--stack", help="the fork of Caffe that reads the file [default: the one whose words it speaks]"
    )
    source = click.option(
        "--source", type=click.Choice(["git", "debian"]), help="fetch that fork's caffe.proto from this source"
    )
    mirror = click.option(
        "--source-mirror", "mirror", type=WORDS, metavar="PATH", help="take caffe.proto from this copy of the source"
    )
    return stack(source(mirror(command)))


net.add_command(show)
net.add_command(upgrade)


@net.command()
@file_argument
@_schema_options
@shape_option
@data_option
@json_option
@click.pass_context
def lint(
    ctx: click.Context, file: Path, stack: str | None, source: str | None, mirror: str | None, shapes: tuple[str, ...],
    data: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Find what is wrong with FILE, a net or a solver. The exit code is 2 where there are errors."""
    from provision.lint import net as checks

    found = checks.read(file)
    fork = found.stack if stack is None else stack
    schema = _schema(fork or "caffe", source, mirror) if fork or source or mirror else None
    report = checks.check(found, schema, data, shapes_of(shapes), fork)
    if as_json:
        findings = [finding.as_json() for finding in report.findings]
        plain = {"findings": findings, "errors": report.errors, "left_out": report.left_out}
        console.emit_json({**plain, "stack": fork, "forks": [one.name for one in found.forks]})
    else:
        _show_report(report, found, "" if stack else fork)
    ctx.exit(2 if report.errors else 0)


def _schema(stack: str, source: Any, mirror: str | None) -> "Schema | None":
    from provision.net import schema_source

    if source or mirror:
        return schema_source.fetch(stack, source, mirror, console.line)
    return schema_source.find(stack)


def _show_report(report: "NetReport", found: "Read", stack: str) -> None:
    from provision.lint.finding import folded

    for finding, alike in folded(report.findings):
        console.say(f"{finding.where}:{finding.line}: {finding.level}: {finding.what}")
        if finding.why:
            console.say(f"    {finding.why}")
        if finding.mend:
            console.say(f"  → {finding.mend}")
        if finding.level == "error":
            for other in alike[:_ALSO]:
                console.say(f"{other.where}:{other.line}: {other.level}: {other.what}")
            alike = alike[_ALSO:]
        if alike:
            lines = ", ".join(str(other.line) for other in alike[:_LINES]) + (", …" if len(alike) > _LINES else "")
            console.say(f"    and {len(alike)} more, in {'lines' if len(alike) > 1 else 'line'} {lines} (--json: each)")
    warnings = len(report.findings) - report.errors
    spoken = f", read as {stack} ({found.forks[0].name}'s words)" if stack and found.forks else ""
    console.say(f"{found.file}: {_many(report.errors, 'error')}, {_many(warnings, 'warning')}{spoken}")
    for check in report.left_out:
        console.say(f"  not checked: {check}")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}" if count else f"no {noun}s"
