"""The command line. A command is imported when it is called, so that `provision --help` stays quick.

Every error that a user can cause is caught here, once: one message, one exit code, no traceback. So is what nobody
foresaw (`provision.commands.unforeseen`), and a reader of the output that had enough (`provision logs RUN | head`).
"""

import os
import sys

import click

from infra import signals
from infra.errors import ProvisionError
from provision import console
from provision.lazy import Lazy, Table

_HERE = "provision.commands."
_HEADINGS: dict[str, Table] = {
    "Every day": {
        "up": (_HERE + "machines", "rent a machine and make it ready"),
        "ls": (_HERE + "machines", "list the machines"),
        "ssh": (_HERE + "machines", "open a shell on a machine, or run a command there"),
        "train": (_HERE + "train", "start a training and follow it"),
        "runs": (_HERE + "runs", "list the trainings"),
        "logs": (_HERE + "logs", "print, follow or plot a training's log"),
        "fetch": (_HERE + "runs", "bring a training's results home"),
        "down": (_HERE + "down", "end machines, and prove that nothing is left"),
    },
    "Machines": {
        "put": (_HERE + "machines", "copy the changed files of a folder to a machine"),
        "forward": (_HERE + "machines", "make a port of a machine a port of this laptop"),
        "extend": (_HERE + "down", "give a machine more time"),
        "box": (_HERE + "box", "keep a development container"),
    },
    "Trainings": {
        "resume": (_HERE + "resume", "go on with an interrupted training"),
        "events": (_HERE + "events", "show a training's time line: machines, interruptions, dollars"),
        "stop": (_HERE + "runs", "stop a training after it has saved its work"),
        "sweep": (_HERE + "sweep", "train a recipe many times, with other options and seeds"),
        "rm": (_HERE + "runs", "delete trainings from S3"),
        "score": (_HERE + "tasks", "evaluate a training's snapshots"),
        "infer": (_HERE + "tasks", "use a training's net on images or a video"),
        "time": (_HERE + "tasks", "time a net, layer by layer"),
        "diagnose": (_HERE + "diagnose", "say why a training failed or stands still"),
        "recipe": (_HERE + "recipe", "list, show, make and check recipes"),
        "cluster": (_HERE + "cluster", "note Slurm clusters to train on, and ask what they have"),
    },
    "Data, nets and images": {
        "data": (_HERE + "data", "prepare data"),
        "net": (_HERE + "net", "draw a net, or find what is wrong with it"),
        "image": (_HERE + "image", "choose, render, build and check images"),
        "ami": (_HERE + "ami", "bake, list and delete machine images of prepared hosts"),
    },
    "Account": {
        "audit": (_HERE + "audit", "list everything of ours; find what has no living owner"),
        "cost": (_HERE + "cost", "show what machines have cost so far"),
        "doctor": (_HERE + "doctor", "check credentials, permissions, quotas and this laptop"),
        "prove": (_HERE + "prove", "prove the promises in your own account, for a few cents"),
        "iam-policy": (_HERE + "doctor", "print the IAM policy that provision needs"),
    },
    "Setup": {
        "demo": (_HERE + "demo", "run the whole story in the local cloud"),
        "local": (_HERE + "local", "run the embedded local cloud"),
        "completion": (_HERE + "completion", "make the shell complete commands, options and names"),
        "help": (_HERE + "help", "find a command by what it does"),
    },
}
_COMMANDS = {name: row for rows in _HEADINGS.values() for name, row in rows.items()}
_MORE = "`provision COMMAND --help` shows its options; `provision help WORD` finds commands by what they do."


def _version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print the version; a source tree that is not installed has none."""
    if asked and not context.resilient_parsing:
        from infra import distribution

        click.echo(f"provision, version {distribution.version() or 'unknown: not installed as a package'}")
        context.exit()


@click.group(cls=Lazy, headings=_HEADINGS, epilog=_MORE, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="print the version")
def cli() -> None:
    """From a laptop to a training container on a rented GPU spot machine, and nothing left running afterwards."""


def main() -> None:
    """The console script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # `provision ls >&-`: whoever closed it wants no output
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    signals.end_as_ctrl_c()
    code = guarded(sys.argv[1:])
    try:
        sys.stderr.flush()
    except OSError:
        from provision.commands import unforeseen

        unforeseen.settle(sys.stderr)
    sys.exit(code)


def guarded(words: list[str]) -> int:
    """`run`, whatever happens: an exception that nobody foresaw is one message, too.

    The exit code is 0 also where the reader of the output had enough, as `head` has.
    """
    try:
        code = run(words)
        sys.stdout.flush()
    except Exception as error:
        from provision.commands import unforeseen

        explained = unforeseen.explain(error)
        return 0 if explained is None else _tell(explained)
    return code


def _unraisable(error: "sys.UnraisableHookArgs") -> None:
    """paramiko's files complain in their destructors where Ctrl-C hit their constructors: no matter for users."""
    if not str(getattr(error.object, "__module__", "")).startswith("paramiko"):
        sys.__unraisablehook__(error)


def run(words: list[str]) -> int:
    """Run one command; its exit code. An exception that is no error of a user's passes."""
    sys.unraisablehook = _unraisable
    console.take_any_text()
    try:
        return _call(words)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ProvisionError as error:
        return _tell(error)
    except (KeyboardInterrupt, EOFError, click.Abort) as end:
        by = f" by {end}" if isinstance(end, signals.Told) else ""
        console.line(f"\nprovision: interrupted{by}")  # first ends the line of the terminal's ^C
        return signals.exit_code(end)


def _call(words: list[str]) -> int:
    """The command's exit code. Not by `cli.main`, which takes a reader that had enough for a failure: exit code 1."""
    try:
        if "_PROVISION_COMPLETE" in os.environ:  # a shell asks what may follow
            from provision.commands import completion

            completion.answer(cli, words)
        with cli.make_context("provision", list(words)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as end:
        code = end.exit_code
    return code if isinstance(code, int) else 0


def _tell(error: ProvisionError) -> int:
    from provision import console

    console.line(f"provision: {error.what}" + (f"\n  → {error.mend}" if error.mend else ""))
    return error.exit_code
