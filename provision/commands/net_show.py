"""`provision net show`, and the options that it shares with `net lint`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.border import nearest
from infra.errors import UsageError
from provision import console
from provision.commands.options import NEW, PATH, json_option

if TYPE_CHECKING:
    from provision.net.graph import Layer, Phase
    from provision.net.shape_kit import Shape
    from provision.net.shapes import Inferred
    from provision.net.text import Message

shape_option = click.option(
    "--shape", "shapes", multiple=True, metavar="BLOB:N,C,H,W", help="the shape of a blob that the file does not tell"
)
data_option = click.option(
    "--data", type=PATH, help="look into the databases of this folder, which is /data in the training"
)
file_argument = click.argument("file", type=PATH)


@click.command()
@file_argument
@click.option("--out", type=NEW, help="draw the net into this .svg, .png or .pdf file")
@click.option(
    "--phase", type=click.Choice(["TRAIN", "TEST"]),
    help="the net of this phase (default: what the file is for; a net for use is TEST)",
)  # fmt: skip
@click.option(
    "--stage", "stages", multiple=True,
    help="the net of this stage, as often as needed (default: the one with data, where rules name stages)",
)  # fmt: skip
@click.option("--level", type=int, default=0, show_default=True, help="the net of this level")
@shape_option
@data_option
@json_option
def show(
    file: Path, out: Path | None, phase: "Phase | None", stages: tuple[str, ...], level: int, shapes: tuple[str, ...],
    data: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Show the layers of FILE with their shapes, parameters and multiply-adds, as a table or a picture.

    What a batch norm keeps (running means and variances) is counted apart from what is learned. "?" and "at least" tell
    that something is not known from the file alone.
    """
    from provision.lint.case import Case
    from provision.lint.records import records
    from provision.net import graph
    from provision.net.shapes import infer

    message = _net(file)
    seen = _Seen(file, message, *graph.meant(message, phase, frozenset(stages), level), level)
    _stages_there(seen, stages)
    case = Case(str(file), message, records=records(message, data), stages=seen.stages)
    given = shapes_of(shapes)
    inferred = infer(seen.layers(), {**case.known(seen.phase), **given})
    _blobs_there(seen, inferred, given)
    if not inferred.rows:
        raise UsageError(f"{file} has no layers in {seen.words}", _elsewhere(seen, []) or "name another file")
    if out is not None:
        _draw(inferred, seen, out)
    if as_json:
        console.emit_json(_plain(inferred, seen))
        return
    _table(inferred, seen)
    for hint in (*_other_stages(seen, stages), *_hints(inferred, seen)):
        console.say(f"  {hint}")
    console.say(f"drawn into {out}" if out else f"  as a picture: provision net show {file} --out {file.stem}.svg")


@dataclass(frozen=True)
class _Seen:
    """The net as it is looked at: in which phase, stages and level."""

    file: Path
    net: "Message"
    phase: "Phase"
    stages: frozenset[str]
    level: int

    @property
    def name(self) -> str:
        return self.net.text("name") or self.file.stem

    @property
    def words(self) -> str:
        stage = f", stage {' and '.join(sorted(self.stages))}" if self.stages else ""
        return f"{self.phase}{stage}{f', level {self.level}' if self.level else ''}"

    def layers(self) -> "list[Layer]":
        from provision.net import graph

        return graph.layers(self.net, self.phase, self.stages, self.level)


def _net(file: Path) -> "Message":
    """The file as a net, which may stand in a solver. UsageError where it is a solver that names its net."""
    from provision.lint.net import is_solver
    from provision.net import text

    message = text.read(file)
    if not is_solver(message):
        return message
    if inside := message.messages("net_param") + message.messages("train_net_param"):
        return inside[0]
    named = [name for field in ("net", "train_net", "test_net") for name in message.texts(field)]
    there = [base / name for name in named for base in (Path(), file.parent, *file.parent.parents)
             if (base / name).is_file()]  # fmt: skip
    mend = f"provision net show {there[0]}" if there else f"show its net, {named[0]}" if named else "name a net"
    raise UsageError(f"{file} is a solver", mend)


def _stages_there(seen: _Seen, stages: tuple[str, ...]) -> None:
    from provision.net import graph

    known = graph.stages_of(seen.net)
    for stage in stages:
        if stage not in known:
            there = f"it names {', '.join(known)}" if known else "it names none"
            raise UsageError(f"{seen.file} has no stage {stage}", f"{there}: write one of them, or leave --stage out")


def _other_stages(seen: _Seen, asked: tuple[str, ...]) -> list[str]:
    """That a stage was taken unasked, and which others there are."""
    from provision.net import graph

    others = [stage for stage in graph.stages_of(seen.net) if stage not in seen.stages]
    if asked or not seen.stages or not others:
        return []
    return [f"the stage {', '.join(seen.stages)} is taken, which has data; others: --stage {' | '.join(others)}"]


def _blobs_there(seen: _Seen, inferred: "Inferred", given: "dict[str, Shape]") -> None:
    names = {name for row in inferred.rows for name in (*row.layer.bottoms, *row.layer.tops)}
    for name in given:
        if name not in names:
            close = nearest(name, names, 1)
            mend = f"did you mean {close[0]}?" if close else "name a bottom or top of a layer"
            raise UsageError(f"--shape {name}: no layer has such a blob in {seen.words}", mend)


def shapes_of(words: tuple[str, ...]) -> "dict[str, Shape]":
    """The shapes that --shape tells, by blob. UsageError for a word that is none."""
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


def _draw(inferred: "Inferred", seen: _Seen, out: Path) -> None:
    from provision.net import counts
    from provision.net.draw import save
    from provision.net.scene import lay_out

    title = f"{seen.name} ({seen.words}): {counts.parameters(inferred)}, {counts.macs(inferred)} multiply-adds"
    save(lay_out(inferred, title), out)


def _table(inferred: "Inferred", seen: _Seen) -> None:
    from provision.net import counts
    from provision.net.shapes import words

    keeps = bool(inferred.kept)
    rows: list[tuple[object, ...]] = [
        (row.layer.name, row.layer.type, ", ".join(words(shape) for shape in row.tops) or "-",
         "?" if row.learned is None else f"{row.learned:,}", *((f"{row.kept:,}" if row.kept else "",) if keeps else ()),
         "?" if row.macs is None else counts.short(row.macs) if row.macs else "", row.odd or row.note)
        for row in inferred.rows
    ]  # fmt: skip
    learned = counts.told(f"{inferred.learned:,}", inferred.params, inferred.params_known)
    kept = (f"{inferred.kept:,}",) if keeps else ()
    rows.append(("total", f"{len(inferred.rows)} layers", "", learned, *kept, counts.macs(inferred), ""))
    columns = ("layer", "type", "output", "parameters", *(("kept",) if keeps else ()), "multiply-adds", "")
    console.table(f"{seen.name}, {seen.words}", columns, rows)
    if keeps:
        both = counts.told(f"{inferred.params:,}", inferred.params, inferred.params_known)
        console.say(f"  kept: a batch norm's running numbers, which are not learned; with them a snapshot has {both}")


def _hints(inferred: "Inferred", seen: _Seen) -> list[str]:
    """What would make the unknown known: another phase or stage, or shapes of the blobs from which it follows."""
    from provision.net import forks, graph
    from provision.net.shape_rules import RULES

    made = {name for row in inferred.rows for name in row.layer.tops}
    lost = [name for row in inferred.rows for name in row.layer.bottoms if name not in made]
    if (lost or not graph.has_data(seen.net, seen.phase, seen.stages, seen.level)) and (hint := _elsewhere(seen, lost)):
        return [f"nothing makes {', '.join(dict.fromkeys(lost)) or 'data'} in {seen.words}: {hint}"]
    strange = {row.layer.type for row in inferred.rows
               if row.params is None and row.layer.type not in RULES and row.layer.type != "Python"}  # fmt: skip
    hints = [f"{kind}: {forks.told(kind)}" for kind in sorted(strange)]
    if unknown := inferred.unknown:
        databases = {name for row in inferred.rows if row.layer.type in ("Data", "AnnotatedData")
                     for name in row.layer.tops}  # fmt: skip
        flags = " ".join(f"--shape {name}:N,C,H,W" for name in unknown[:4])
        more = f" (and {len(unknown) - 4} more)" if len(unknown) > 4 else ""
        look = ", or --data DIR" if databases & set(unknown) else ""
        hints.append(f"? is not known from the file alone: {flags}{more}{look}")
    return hints


def _elsewhere(seen: _Seen, lost: list[str]) -> str:
    """The flags with which the lost blobs are made (or any data, where none are lost); empty where there are none."""
    from provision.net import graph

    alone: list[frozenset[str]] = [frozenset((stage,)) for stage in graph.stages_of(seen.net)]
    for phase in (seen.phase, *(one for one in graph.PHASES if one != seen.phase)):
        for stages in (frozenset[str](), *alone):
            layers = graph.layers(seen.net, phase, stages, seen.level)
            made = {name for layer in layers for name in layer.tops}
            if set(lost) <= made and any(layer.source for layer in layers):
                stage = "".join(f" --stage {name}" for name in sorted(stages))
                return f"--phase {phase}{stage}" if phase != seen.phase or not stages else stage.strip()
    return ""


def _plain(inferred: "Inferred", seen: _Seen) -> dict[str, Any]:
    rows = [
        {"name": row.layer.name, "type": row.layer.type, "line": row.layer.line, "bottoms": row.layer.bottoms,
         "tops": dict(zip(row.layer.tops, row.tops, strict=True)), "params": row.params, "count": row.counted,
         "learned": row.learned, "kept": None if row.counted is None else row.kept, "macs": row.macs, "odd": row.odd,
         "note": row.note}
        for row in inferred.rows
    ]  # fmt: skip
    counted = inferred.params_known or bool(inferred.params)
    return {"name": seen.name, "phase": seen.phase, "stages": sorted(seen.stages), "layers": rows,
            "params": inferred.params if counted else None, "learned": inferred.learned if counted else None,
            "kept": inferred.kept if counted else None, "params_known": inferred.params_known,
            "macs": inferred.macs if inferred.macs_known or inferred.macs else None,
            "macs_known": inferred.macs_known, "whole": inferred.whole, "unknown": inferred.unknown}  # fmt: skip
