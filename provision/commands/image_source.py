"""`provision image bake`, `prove`, `secret`: many images at once, the proof, and what builds need of a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision import console
from provision.commands.image_options import lock_options, place_options, wanted_options
from provision.commands.image_wanted import Locking, Wanted
from provision.commands.options import PATH, WORDS, dry_run_option, json_option
from provision.commands.session import Place

NAMES = ("ca", "pip", "apt")  # of infra.buildsecrets, which `--help` need not import

if TYPE_CHECKING:
    from images.patches import ColumnBuffer
    from images.prove import Proof
    from images.source import Source
    from images.target import Target


@click.command()
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="bake every target")
@click.option("--out", type=PATH, required=True, help="write docker-bake.json and the build contexts to this folder")
@wanted_options
@dry_run_option
def bake(targets: tuple[str, ...], everything: bool, out: Path, wanted: Wanted, dry_run: bool) -> None:
    """Write docker-bake.json: many images in one call of `docker buildx bake`."""
    from images import bake as baking
    from images import choose as chooser
    from infra.shell import LocalShell

    if bool(targets) == everything:
        raise click.UsageError("name TARGETs, or all of them with --all")
    chosen = list(chooser.targets()) if everything else [chooser.parse(text) for text in targets]
    if dry_run:
        console.say(f"would write {out / baking.NAME} and {len(chosen)} contexts beside it")
        return
    sources = _sources(chosen, wanted, LocalShell())
    secrets = _kept_secrets(out, LocalShell())
    path = baking.write([wanted.context(target) for target in chosen], out, wanted.stage, secrets, sources)
    console.say(f"{path}: {len(chosen)} targets; a group for each stack")
    hidden = [name for name, where in secrets.items() if where.startswith("env=")]
    for name in hidden:
        console.say(f"{name}'s configuration holds a password, and is written nowhere: hand it in as below")
    given = "".join(f'{_variable(name)}="$(provision image secret {name})" ' for name in hidden)
    console.say(f"next: cd {out} && {given}docker buildx bake --builder default")


def _sources(chosen: "Sequence[Target]", wanted: Wanted, shell: Any) -> "dict[str, Source]":
    """The sources by stack. A stack without a source tree is not asked for one, unless a source is named."""
    return {
        stack: wanted.source(target, shell)
        for stack, target in {target.stack.name: target for target in chosen}.items()
    }


def _kept_secrets(out: Path, shell: Any) -> dict[str, str]:
    """The secrets that builds need in this network, by id: a file in a folder that only its user may read or, where
    the secret holds a password, an environment variable, for OUT is made to be kept and shown."""
    from infra.buildsecrets import holds_password, write
    from infra.disk import writing

    folder = out / "secrets"
    found = {}
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        write(shell, str(folder))
        for path in (folder / name for name in NAMES if (folder / name).exists()):
            found[path.name] = f"src=secrets/{path.name}"
            if holds_password(path.read_text(encoding="utf-8")):
                path.unlink()
                found[path.name] = f"env={_variable(path.name)}"
        if not any(folder.iterdir()):
            folder.rmdir()
    return found


def _variable(name: str) -> str:
    return f"PROVISION_BUILD_{name.upper()}"


@click.command()
@click.argument("name", type=click.Choice(NAMES))
def secret(name: str) -> None:
    """Print a secret of this network, passwords included, for a `docker buildx bake` that asks for it.

    NAME is ca (the bundle of certificates), pip (its configuration) or apt (where packages of ended releases are).
    """
    import tempfile

    from infra.buildsecrets import write
    from infra.shell import LocalShell

    with tempfile.TemporaryDirectory() as folder:
        write(LocalShell(), folder)
        path = Path(folder) / name
        console.say(path.read_text(encoding="utf-8").rstrip("\n") if path.exists() else "")


@click.command()
@click.argument("target")
@click.option("--col-buffer", "variants", type=click.Choice(["ours", "static", "none", "all"]), default="all",
              help="the column buffer to prove")  # fmt: skip
@click.option("--source", type=click.Choice(["git", "debian"]), default="git")
@click.option("--source-mirror", "mirror", type=WORDS, metavar="PATH-or-URL", help="take the source from here")
@click.option(
    "--passes", type=click.IntRange(1), default=40, help="the number of forward and backward passes in each thread"
)
@lock_options
@place_options
@json_option
@dry_run_option
def prove(
    target: str,
    variants: str,
    source: str,
    mirror: str | None,
    passes: int,
    locking: Locking,
    place: Place,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Count the wrong results of Caffe in several threads, and measure its memory, for each kind of column buffer."""
    from images import choose as chooser
    from images import prove as proving
    from infra.errors import ImageError

    found = chooser.parse(target)
    chosen = [variant for variant in proving.VARIANTS if variants in (variant, "all")]
    contexts = {variant: Wanted("devel", column_buffer=variant, locking=locking).context(found) for variant in chosen}
    if dry_run:
        console.say(f"would build {found.name} to its devel stage with {', '.join(chosen)}, and run the proof in each")
        return
    with place.shell() as shell:
        tree = Wanted("devel", source == "debian", mirror).source(found, shell)
        built = {variant: proving.image_of(contexts[variant], tree, shell, console.line) for variant in chosen}
        proofs = [
            proving.prove(image, variant, shell, passes=passes, on_line=console.line)
            for variant, image in built.items()
        ]
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
    """The cells that only a variant's first row shows."""
    sizes = [console.size(size) if size is not None else "died" for size in (proof.columns_bytes, proof.peak_bytes)]
    took = f"{proof.seconds:.1f} s" if proof.seconds is not None else ""
    return (proof.handover.wrong, *sizes, ratio.get(proof.variant, ""), took)
