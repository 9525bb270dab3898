"""`provision demo`: the main job, from an empty machine to a trained net fetched back."""

from pathlib import Path

import click

from infra.errors import ProvisionError
from provision import console


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/demo"), help="where its results go")
def demo(out: Path) -> None:
    """Rent, build, train, be interrupted, resume, fetch, end: in the embedded local cloud, with real parts."""
    import shutil

    from provision import story

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    told = story.tell(out)
    console.say("")
    rows = [(what, f"{seconds:.1f}") for what, seconds in told.steps]
    total = sum(seconds for _, seconds in told.steps)
    console.table("what took how long", ("step", "seconds"), [*rows, ("all", f"{total:.1f}")])
    wrong = [what for what, so in told.checks if not so]
    if wrong:
        raise ProvisionError("the demo's checks failed: " + "; ".join(wrong))
    console.say(f"\nall {len(told.checks)} checks hold; the net, its log and its plot are in {out}")
