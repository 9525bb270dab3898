"""`provision image patch`, `bake`, `prove`: a source tree of the user's own, many images at once, and the proof."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.image_options import Place, Wanted, place_options, wanted_options
from provision.commands.options import dry_run_option, json_option

if TYPE_CHECKING:
    from images.context.apply_patches import Report
    from images.patches import ColumnBuffer
    from images.prove import Proof
    from images.source import Source
    from images.target import Target


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--stack", required=True, help="the stack whose patches are meant, such as caffe")
@click.option("--row", help="for the versions of this row of the matrix")
@click.option("--col-buffer", "column_buffer", type=click.Choice(["ours", "static", "none"]), default="ours")
@json_option
@dry_run_option
def patch(folder: Path, stack: str, row: str | None, column_buffer: Any, as_json: bool, dry_run: bool) -> None:
    """Apply a stack's patches to DIR, a checkout of your own of any fork; each patch as a whole or not at all."""
    from images import choose as chooser
    from images.context.apply_patches import FAILED
    from images.patches import apply_to, select
    from infra.errors import ImageError, UsageError

    target = chooser.choose(stack, row=row)
    chosen = select(stack, target.versions, column_buffer=column_buffer) if target.stack.patched else ()
    if not chosen:
        raise UsageError(f"there are no patches for {stack}", "take a stack that is compiled here, such as caffe")
    report = apply_to(folder, chosen, source=str(folder), lenient=True, dry_run=dry_run)
    _show_patches(report, f"for {target.name}" + (": nothing is written" if dry_run else ""), as_json)
    if failed := report.of(FAILED):
        names = ", ".join(one.patch for one in failed)
        raise ImageError(
            f"{len(failed)} of {len(report.results)} patches do not fit {folder}: {names}",
            "the others do: change the places named above by hand, or do without",
        )
    if not as_json:
        console.say(f"next: provision image build {target.name} --source-mirror {folder}")


def _show_patches(report: "Report", title: str, as_json: bool) -> None:
    if as_json:
        console.emit_json([vars(one) for one in report.results])
        return
    rows = [(one.patch, one.status, "\n".join([*one.files, *one.notes])) for one in report.results]
    console.table(title, ["patch", "", "where, and why not"], rows)


@click.command()
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="every target")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="write docker-bake.json and contexts there")
@wanted_options
@place_options
@dry_run_option
def bake(
    targets: tuple[str, ...], everything: bool, out: Path, wanted: Wanted, place: Place, dry_run: bool
) -> None:  # fmt: skip
    """Write docker-bake.json: many images in one call of `docker buildx bake`."""
    from images import bake as baking
    from images import choose as chooser

    if bool(targets) == everything:
        raise click.UsageError("name TARGETs, or all of them with --all")
    chosen = list(chooser.targets()) if everything else [chooser.parse(one) for one in targets]
    if dry_run:
        console.say(f"would write {out / baking.NAME} and {len(chosen)} contexts beside it")
        return
    with place.shell() as shell:
        sources = _sources(chosen, wanted, shell)
        secrets = _kept_secrets(out, shell)
    path = baking.write([wanted.context(one) for one in chosen], out, wanted.stage, secrets, sources)
    console.say(f"{path}: {len(chosen)} targets; a group for each stack")
    console.say(f"next: cd {out} && docker buildx bake --builder default")


def _sources(chosen: "Sequence[Target]", wanted: Wanted, shell: Any) -> "dict[str, Source]":
    """By stack. Nothing is asked of stacks that are no trees, where no source is named."""
    return {stack: wanted.source(target, shell) for stack, target in {one.stack.name: one for one in chosen}.items()}


def _kept_secrets(out: Path, shell: Any) -> list[str]:
    """What this network needs, in a folder beside the contexts that only its user may read; names of the files."""
    from infra.buildsecrets import write

    folder = out / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(shell, str(folder))
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        folder.rmdir()
    return names


@click.command()
@click.argument("target")
@click.option("--col-buffer", "variants", type=click.Choice(["ours", "static", "none", "all"]), default="all",
              help="which column buffer")  # fmt: skip
@click.option("--source", type=click.Choice(["git", "debian"]), default="git")
@click.option("--source-mirror", "mirror", metavar="PATH-or-URL", help="take the source from a copy")
@click.option("--passes", type=click.IntRange(1), default=40, help="forward and backward passes in each thread")
@place_options
@json_option
@dry_run_option
def prove(
    target: str, variants: str, source: str, mirror: str | None, passes: int, place: Place, as_json: bool, dry_run: bool
) -> None:
    """Count Caffe's wrong passes with several threads, and measure its memory, for each kind of column buffer."""
    from images import choose as chooser
    from images import prove as proving
    from infra.errors import ImageError

    found = chooser.parse(target)
    chosen = [one for one in proving.VARIANTS if variants in (one, "all")]
    if dry_run:
        console.say(f"would build {found.name} to its devel stage with {', '.join(chosen)}, and run the proof in each")
        return
    with place.shell() as shell:
        tree = Wanted("devel", source == "debian", mirror).source(found, shell)
        built = {one: proving.image_of(found, one, tree, shell, console.line) for one in chosen}
        proofs = [proving.prove(image, one, shell, passes=passes, on_line=console.line) for one, image in built.items()]
    _show_proofs(proofs, as_json)
    if wrong := [proof for proof in proofs if proof.variant == "ours" and not proof.right]:
        raise ImageError(f"the column buffer of {wrong[0].tag} is wrong", "report this, with the table above")


def _show_proofs(proofs: "Sequence[Proof]", as_json: bool) -> None:
    from dataclasses import asdict

    from images.prove import ratios

    ratio = ratios(proofs)
    if as_json:
        console.emit_json([{**asdict(proof), "ratio": ratio.get(proof.variant)} for proof in proofs])
        return
    rows = [
        (proof.variant, race.threads, race.passes, race.wrong, *(_once(proof, ratio) if race is proof.races[0] else ()))
        for proof in proofs
        for race in proof.races
    ]
    columns = ["buffer", "threads", "passes", "wrong forward / gradient", "handover", "columns", "FCN-8s peak RSS"]
    console.table("", [*columns, "ratio", "took"], rows)


def _once(proof: "Proof", ratio: "Mapping[ColumnBuffer, float]") -> tuple[object, ...]:
    """What stands in a variant's first row only."""
    sizes = [console.size(one) if one is not None else "died" for one in (proof.columns_bytes, proof.peak_bytes)]
    took = f"{proof.seconds:.1f} s" if proof.seconds is not None else ""
    return (proof.handover.wrong, *sizes, ratio.get(proof.variant, ""), took)
