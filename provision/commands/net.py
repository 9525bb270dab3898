"""`provision net show` and `provision net lint`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import console
from provision.commands.options import NEW, PATH, WORDS, Command, json_option

if TYPE_CHECKING:
    from provision.lint.net import NetReport
    from provision.net.graph import Phase
    from provision.net.schema import Schema
    from provision.net.shape_kit import Shape
    from provision.net.shapes import Inferred


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


_shape_option = click.option(
    "--shape", "shapes", multiple=True, metavar="BLOB:N,C,H,W", help="the shape of a blob that the file does not tell"
)
_data_option = click.option(
    "--data", type=PATH, help="look into the databases of this folder, which is /data in the training"
)
_file = click.argument("file", type=PATH)
_LINES = 8  # lines of findings of one kind that are told in its place


@net.command()
@_file
@click.option("--out", type=NEW, help="draw the net into this .svg, .png or .pdf file")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", show_default=True)
@_shape_option
@_data_option
@json_option
def show(
    file: Path, out: Path | None, phase: "Phase", shapes: tuple[str, ...], data: Path | None, as_json: bool
) -> None:
    """Show the layers of FILE with their shapes, parameters and multiply-adds, as a table or a picture."""
    from provision.lint.case import Case
    from provision.lint.net import is_solver
    from provision.lint.records import records
    from provision.net import text
    from provision.net.shapes import infer

    message = text.read(file)
    if is_solver(message):
        raise UsageError(f"{file} is a solver", "name the net that it names")
    case = Case(str(file), message, records=records(message, data))
    inferred = infer(case.layers(phase), {**case.known(phase), **_shapes(shapes)})
    name = message.text("name") or file.stem
    if out is not None:
        _draw(inferred, name, phase, out)
    if as_json:
        console.emit_json(_plain(inferred, name, phase))
    else:
        _table(inferred, name, phase)
        console.say(f"drawn into {out}" if out else f"  as a picture: provision net show {file} --out {file.stem}.svg")


def _shapes(words: tuple[str, ...]) -> "dict[str, Shape]":
    found: dict[str, Shape] = {}
    for word in words:
        name, _, sizes = word.rpartition(":")
        try:
            found[name] = tuple(int(size) for size in sizes.replace("x", ",").split(","))
        except ValueError:
            found[name] = ()
        if not name or not found[name] or min(found[name]) < 1:
            raise UsageError(f"--shape {word} is no shape", "write --shape data:1,3,224,224")
    return found


def _draw(inferred: "Inferred", name: str, phase: str, out: Path) -> None:
    from provision.net.draw import save
    from provision.net.scene import lay_out

    title = f"{name} ({phase}): {inferred.params:,} parameters, {_short(inferred.macs)} multiply-adds"
    save(lay_out(inferred, title), out)


def _table(inferred: "Inferred", name: str, phase: str) -> None:
    from provision.net.shapes import words

    rows: list[tuple[object, ...]] = [
        (row.layer.name, row.layer.type, ", ".join(words(shape) for shape in row.tops) or "-",
         "?" if row.counted is None and not row.layer.source else f"{row.counted or 0:,}",
         _short(row.macs or 0) if row.macs else "", row.odd)
        for row in inferred.rows
    ]  # fmt: skip
    rows.append(("total", f"{len(inferred.rows)} layers", "", f"{inferred.params:,}", _short(inferred.macs), ""))
    console.table(f"{name}, {phase}", ("layer", "type", "output", "parameters", "multiply-adds", ""), rows)
    if not inferred.whole:
        unknown = next((row.layer for row in inferred.rows if None in row.tops), None)
        if unknown is not None and unknown.tops:
            console.say(f"  ? is not known without the data: --shape {unknown.tops[0]}:N,C,H,W, or --data DIR")


def _plain(inferred: "Inferred", name: str, phase: str) -> dict[str, Any]:
    rows = [
        {"name": row.layer.name, "type": row.layer.type, "line": row.layer.line, "bottoms": row.layer.bottoms,
         "tops": dict(zip(row.layer.tops, row.tops, strict=True)), "params": row.params, "count": row.counted,
         "macs": row.macs, "odd": row.odd}
        for row in inferred.rows
    ]  # fmt: skip
    return {"name": name, "phase": phase, "layers": rows, "params": inferred.params, "macs": inferred.macs,
            "whole": inferred.whole}  # fmt: skip


def _short(count: int) -> str:
    """A count as people write it: 61.0 M."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


@net.command()
@_file
@_schema_options
@_shape_option
@_data_option
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
    report = checks.check(found, schema, data, _shapes(shapes), fork)
    if as_json:
        findings = [finding.as_json() for finding in report.findings]
        console.emit_json({"findings": findings, "errors": report.errors, "left_out": report.left_out})
    else:
        _show_report(report, file)
    ctx.exit(2 if report.errors else 0)


def _schema(stack: str, source: Any, mirror: str | None) -> "Schema | None":
    from provision.net import schema_source

    if source or mirror:
        return schema_source.fetch(stack, source, mirror, console.line)
    return schema_source.find(stack)


def _show_report(report: "NetReport", file: Path) -> None:
    from provision.lint.finding import folded

    for finding, alike in folded(report.findings):
        console.say(f"{finding.where}:{finding.line}: {finding.level}: {finding.what}")
        if finding.why:
            console.say(f"    {finding.why}")
        if finding.mend:
            console.say(f"  → {finding.mend}")
        if alike:
            lines = ", ".join(str(other.line) for other in alike[:_LINES]) + (", …" if len(alike) > _LINES else "")
            console.say(f"    and {len(alike)} more, in {'lines' if len(alike) > 1 else 'line'} {lines} (--json: each)")
    warnings = len(report.findings) - report.errors
    console.say(f"{file}: {_many(report.errors, 'error')}, {_many(warnings, 'warning')}")
    for check in report.left_out:
        console.say(f"  not checked: {check}")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}" if count else f"no {noun}s"
