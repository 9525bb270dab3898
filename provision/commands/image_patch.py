"""`provision image patch`: patch a source tree of the user's own, and say what it compiles with and what it needs."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision import console
from provision.commands.image_options import wish_options
from provision.commands.image_wanted import with_driver
from provision.commands.options import PATH, dry_run_option, json_option

if TYPE_CHECKING:
    from images.compiles import Verdict
    from images.context.apply_patches import Report, Result
    from images.dependencies import Need
    from images.patches import ColumnBuffer


@click.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--stack", required=True, help="the stack whose patches are meant, such as caffe")
@wish_options
@click.option("--col-buffer", "column_buffer", type=click.Choice(["ours", "static", "none"]), default="ours")
@json_option
@dry_run_option
def patch(
    folder: Path, stack: str, column_buffer: "ColumnBuffer", as_json: bool, dry_run: bool, **wish: str | None
) -> None:
    """Apply a stack's patches to DIR, your own checkout of any fork. Each patch is applied as a whole or not at all.

    Without options, the patches are those for today's libraries, with and without CUDA. With a wish (--row, --gpu,
    --cuda, …) they are those for its target, which `image choose` finds. Then the tree is read for what the newest
    libraries, or the target's, no longer have: the exit code is 0 where every patch is there and nothing is left, else
    12. All files are written or none, and a second run changes nothing.
    """
    from images import choose as chooser
    from images.compiles import macros, newest, verdicts
    from images.dependencies import needs
    from images.patches import apply_to, left_out, select
    from infra.errors import UsageError

    target = chooser.choose(stack, **with_driver(wish))
    versions = target.versions if any(wish.values()) else None
    if not target.stack.patched:
        raise UsageError(f"there are no patches for {stack}", "take a stack that is compiled here, such as caffe")
    chosen = select(stack, versions, column_buffer=column_buffer)
    report = apply_to(folder, chosen, source=str(folder), lenient=True, dry_run=dry_run)
    told = verdicts(report.tree, versions) if stack.startswith("caffe") else []
    known = macros(versions or newest(), settled=versions is not None)
    missing = needs(report.tree, known) if stack.startswith("caffe") else []
    title = f"for {target.name if versions else f'{stack} with all versions'}"
    title += ": nothing is written" if dry_run else ""
    left = left_out(stack, versions) if versions else {}
    if as_json:
        _emit(report, left, told, missing, folder)
    else:
        _show(report, left, told, missing, folder, title)
    _refuse(report, told, folder, dry_run)
    if not as_json:
        same = "" if column_buffer == "ours" else f" --col-buffer {column_buffer}"
        _next(target.name, report, verdicts(report.tree, target.versions) if told and not versions else [], same)


def _next(target: str, report: "Report", told: "Sequence[Verdict]", same: str) -> None:
    """The command that builds the tree, where nothing is known against its target."""
    if against := ", ".join(one.title for one in told if not one.compiles):
        console.say(f"next: name what it is to run on, with --gpu or --row: it will not compile with {against}")
    else:
        place = shlex.quote(str(report.tree.root))
        console.say(f"next: provision image build {target} --source-mirror {place}{same}")


def _refuse(report: "Report", told: "Sequence[Verdict]", folder: Path, dry_run: bool) -> None:
    """ImageError where a patch does not fit, or the tree will not compile with the versions that were asked about."""
    from images.context.apply_patches import FAILED
    from infra.errors import ImageError

    failed = ", ".join(result.patch for result in report.of(FAILED))
    against = ", ".join(one.title for one in told if not one.compiles)
    said = []
    if failed:
        said.append(f"{len(report.of(FAILED))} of {len(report.results)} patches do not fit {folder}: {failed}")
    if against:
        said.append(f"{'it' if failed else folder} will not compile with {against}")
    others = "nothing was written, and the others would fit" if dry_run else "the other patches are there"
    mends = [f"{others}: change the places named above by hand, or do without"] * bool(failed)
    mends += ["change the places named above by hand, or name older libraries with --cuda, --row or --distribution"] * (
        bool(against) and not failed
    )
    if said:
        raise ImageError("; ".join(said), mends[0])


def _found(report: "Report", folder: Path) -> list[str]:
    """What was found out about the tree, in sentences."""
    tree, said = report.tree, []
    if tree.root != folder:
        said.append(f"Caffe was found in {tree.root.relative_to(folder)}")
    if report.finished:
        said.append("a run that was stopped while it wrote was brought to its end first")
    if tree.with_crlf:
        said.append(f"{len(tree.with_crlf)} of the changed files have CRLF line ends, and keep them")
    if (tree.root / "Makefile.config").is_file():
        said.append("Makefile.config is yours: it is read, and not changed")
    if not (tree.root / "Makefile").is_file() and (tree.root / "CMakeLists.txt").is_file():
        said.append("there is no Makefile: what patches change in one is left to your CMakeLists.txt")
    return said


def _rows(told: "Sequence[Verdict]", missing: "Sequence[Need]") -> "list[Result]":
    """The verdicts and the needs in the form of a patch's result."""
    from images.context.apply_patches import Result

    rows = [
        Result(
            f"check {one.library}",
            "nothing against it" if one.compiles else "will not compile",
            [left.where for left in one.left],
            [one.title, *one.notes],
        )
        for one in told
    ]
    return rows + [Result(f"needs {need.name}", "needed", list(need.files), [need.note]) for need in missing]


def _emit(
    report: "Report", left: Mapping[str, str], told: "Sequence[Verdict]", missing: "Sequence[Need]", folder: Path
) -> None:
    from images.context.apply_patches import Result

    results = [*report.results, *(Result(name, "left out", [], [why]) for name, why in left.items())]
    results += _rows(told, missing)
    if found := _found(report, folder):
        results.append(Result("tree", "found", [], found))
    console.emit_json([vars(result) for result in results])


def _show(
    report: "Report",
    left: Mapping[str, str],
    told: "Sequence[Verdict]",
    missing: "Sequence[Need]",
    folder: Path,
    title: str,
) -> None:
    """What became of each patch, what stands against each library, and what else the tree needs."""
    for sentence in _found(report, folder):
        console.say(sentence)
    rows = [(result.patch, result.status, "\n".join([*result.files, *result.notes])) for result in report.results]
    rows += [(name, "left out", why) for name, why in left.items()]
    console.table(title, ["patch", "", "where, and why not"], rows)
    if told:
        console.table(
            "what the tree will compile with, by what is left of older interfaces",
            ["library", "", "where, and why not"],
            [
                (one.title, "nothing against it" if one.compiles else "will not compile", "\n".join(one.notes))
                for one in told
            ],
        )  # fmt: skip
    if missing:
        console.table(
            "what it includes beyond what every Caffe needs",
            ["library or header", "packages", "included by"],
            [(need.name, need.note, need.files[0] + f" and {len(need.files) - 1} more" * (len(need.files) > 1))
             for need in missing],
        )  # fmt: skip
