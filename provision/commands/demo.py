"""`provision demo`: the main job, from an empty machine to a trained net fetched back."""

import shlex
import shutil
from pathlib import Path

import click

from infra.errors import ProvisionError, UsageError
from provision import console
from provision.commands.options import PATH, dry_run_option

_MARKER = ".provision-demo"
_MADE = ("results", "training.png")  # what the story leaves in its folder


@click.command()
@click.option("--out", type=PATH, default=Path("build/demo"), help="the folder for the demo's results")
@dry_run_option
def demo(out: Path, dry_run: bool) -> None:
    """Show the main job in the embedded local cloud: build, train, be interrupted and go on without a laptop, fetch."""
    from provision.commands import demo_story

    _check(out)
    if dry_run:
        for words in typed(out):
            console.say(f"$ provision {shlex.join(words)}")
        return
    _clear(out)
    told = demo_story.tell(out)
    console.say("")
    rows = [(what, f"{seconds:.1f}") for what, seconds in told.steps]
    total = sum(seconds for _, seconds in told.steps)
    console.table("what took how long", ("step", "seconds"), [*rows, ("all", f"{total:.1f}")])
    wrong = [what for what, so in told.checks if not so]
    if wrong:
        raise ProvisionError("the demo's checks failed: " + "; ".join(wrong))
    console.say(f"\nall {len(told.checks)} checks hold; the net, its log and its plot are in {out}")


def typed(out: Path) -> list[list[str]]:
    """The commands that the story types; RUN and INSTANCE stand for what it learns on the way."""
    from provision.commands.demo_story import NOTICE_S, TRAIN
    from provision.commands.demo_told import CLOUD, NAME

    lines = (
        f"local start --name {NAME}",
        "image build caffe-debian",
        shlex.join(TRAIN),
        f"local interrupt INSTANCE --notice {NOTICE_S} --name {NAME}",
        f"runs --cloud {CLOUD}",
        f"events RUN --cloud {CLOUD}",
        f"logs RUN --plot {shlex.quote(str(out / 'training.png'))} --cloud {CLOUD}",
        f"fetch RUN {shlex.quote(str(out / 'results'))} --cloud {CLOUD}",
        f"local stop --name {NAME}",
    )
    return [shlex.split(line) for line in lines]


def _check(out: Path) -> None:
    """Raise a UsageError for a folder that holds something else than an earlier demo's files."""
    mend = "give a new or an empty folder: --out DIR"
    try:
        strange = out.exists() and any(out.iterdir()) and not (out / _MARKER).is_file()
    except OSError as error:  # a file, or a folder that we may not read
        raise UsageError(f"cannot use --out {out}: {error.strerror}", mend) from error
    if strange:
        raise UsageError(f"--out {out} holds files that no demo made; nothing was touched", mend)


def _clear(out: Path) -> None:
    """Make the folder ready: remove the files of an earlier story, and nothing else."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARKER).touch()
        for path in (out / name for name in _MADE):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to --out {out}: {error.strerror}", "give another folder: --out DIR") from error
