"""`provision image patch`, `bake`, `prove`: a source tree of the user's own, many images at once, and the proof."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.image_options import Place, Wanted, place_options, wanted_options, wish_options
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
@wish_options
@click.option("--col-buffer", "column_buffer", type=click.Choice(["ours", "static", "none"]), default="ours")
@json_option
@dry_run_option
def patch(
    folder: Path, stack: str, column_buffer: "ColumnBuffer", as_json: bool, dry_run: bool, **wish: str | None
) -> None:
    """Apply a stack's patches to DIR, a checkout of your own of any fork; each patch as a whole or not at all.

    Those for all versions, today's libraries with and without CUDA; or those for the target of a wish (--row, --gpu,
    --cuda, …), as `image choose` finds it.
    """
    from images import choose as chooser
    from images.context.apply_patches import FAILED
    from images.patches import apply_to, left_out, select
    from infra.errors import ImageError, UsageError

    target = chooser.choose(stack, **wish)
    versions = target.versions if any(wish.values()) else None
    if not target.stack.patched:
        raise UsageError(f"there are no patches for {stack}", "take a stack that is compiled here, such as caffe")
    chosen = select(stack, versions, column_buffer=column_buffer)
    report = apply_to(folder, chosen, source=str(folder), lenient=True, dry_run=dry_run)
    title = f"for {target.name if versions else f'{stack} with all versions'}"
    title += ": nothing is written" if dry_run else ""
    _show_patches(report, left_out(stack, versions) if versions else {}, title, as_json)
    if failed := report.of(FAILED):
        names = ", ".join(one.patch for one in failed)
        raise ImageError(
            f"{len(failed)} of {len(report.results)} patches do not fit {folder}: {names}",
            "the others do: change the places named above by hand, or do without",
        )
    if not as_json:
        same = "" if column_buffer == "ours" else f" --col-buffer {column_buffer}"
        console.say(f"next: provision image build {target.name} --source-mirror {folder}{same}")


def _show_patches(report: "Report", left: "Mapping[str, str]", title: str, as_json: bool) -> None:
    """What became of each patch, and of those that the versions leave out."""
    from images.context.apply_patches import Result

    results = [*report.results, *(Result(name, "left out", [], [why]) for name, why in left.items())]
    if as_json:
        console.emit_json([vars(one) for one in results])
        return
    rows = [(one.patch, one.status, "\n".join([*one.files, *one.notes])) for one in results]
    console.table(title, ["patch", "", "where, and why not"], rows)


@click.command()
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="every target")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="write docker-bake.json and contexts there")
@wanted_options
@dry_run_option
def bake(targets: tuple[str, ...], everything: bool, out: Path, wanted: Wanted, dry_run: bool) -> None:
    """Write docker-bake.json: many images in one call of `docker buildx bake`."""
    from images import bake as baking
    from images import choose as chooser
    from infra.shell import LocalShell

    if bool(targets) == everything:
        raise click.UsageError("name TARGETs, or all of them with --all")
    chosen = list(chooser.targets()) if everything else [chooser.parse(one) for one in targets]
    if dry_run:
        console.say(f"would write {out / baking.NAME} and {len(chosen)} contexts beside it")
        return
    sources = _sources(chosen, wanted, LocalShell())
    secrets = _kept_secrets(out, LocalShell())
    path = baking.write([wanted.context(one) for one in chosen], out, wanted.stage, secrets, sources)
    console.say(f"{path}: {len(chosen)} targets; a group for each stack")
    console.say(f"next: cd {out} && docker buildx bake --builder default")


def _sources(chosen: "Sequence[Target]", wanted: Wanted, shell: Any) -> "dict[str, Source]":
    """By stack. Nothing is asked of stacks that are no trees, where no source is named."""
    return {stack: wanted.source(target, shell) for stack, target in {one.stack.name: one for one in chosen}.items()}


def _kept_secrets(out: Path, shell: Any) -> list[str]:
    """What this network needs, in a folder beside the contexts that only its user may read; names of the files."""
    from infra.buildsecrets import NAMES, write
    from infra.disk import writing

    folder = out / "secrets"
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        write(shell, str(folder))
        if not any(folder.iterdir()):
            folder.rmdir()
    return [name for name in NAMES if (folder / name).exists()]


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
