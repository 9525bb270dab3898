"""`provision net lint`, and the group of all words on nets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.net_show import data_option, file_argument, shape_option, shapes_of, show
from provision.commands.net_upgrade import upgrade
from provision.commands.options import WORDS, Command, json_option

if TYPE_CHECKING:
    from provision.lint.net import NetReport
    from provision.net.schema import Schema


@click.group()
def net() -> None:
    """Draw a net, or find what is wrong with it, before anything runs."""


def _schema_options(command: Command) -> Command:
    """Add --stack, --source and --source-mirror."""
    stack = click.option("--stack", default="caffe", show_default=True, help="the fork of Caffe that reads the file")
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
    ctx: click.Context, file: Path, stack: str, source: str | None, mirror: str | None, shapes: tuple[str, ...],
    data: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Find what is wrong with FILE, a net or a solver. The exit code is 2 where there are errors."""
    from provision.lint import net as checks

    report = checks.lint(file, _schema(stack, source, mirror), data, shapes_of(shapes))
    if as_json:
        found = [finding.as_json() for finding in report.findings]
        console.emit_json({"findings": found, "errors": report.errors, "left_out": report.left_out})
    else:
        _show_report(report, file)
    ctx.exit(2 if report.errors else 0)


def _schema(stack: str, source: Any, mirror: str | None) -> "Schema | None":
    from provision.net import schema_source

    if source or mirror:
        return schema_source.fetch(stack, source, mirror, console.line)
    return schema_source.find(stack)


def _show_report(report: "NetReport", file: Path) -> None:
    for finding in report.findings:
        console.say(f"{finding.where}:{finding.line}: {finding.level}: {finding.what}")
        if finding.why:
            console.say(f"    {finding.why}")
        if finding.mend:
            console.say(f"  → {finding.mend}")
    warnings = len(report.findings) - report.errors
    console.say(f"{file}: {_many(report.errors, 'error')}, {_many(warnings, 'warning')}")
    for check in report.left_out:
        console.say(f"  not checked: {check}")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}" if count else f"no {noun}s"
