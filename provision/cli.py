"""The command line. Commands are imported when they are called: `provision --help` stays quick.

Every error that a user can cause is caught here, once: one message, one exit code, no traceback.
"""

import os
import sys

import click

from infra.errors import ProvisionError
from provision.lazy import Lazy

_COMMANDS = {
    "up": ("provision.commands.machines", "rent a machine and make it ready"),
    "ls": ("provision.commands.machines", "list the machines"),
    "ssh": ("provision.commands.machines", "open a shell on a machine, or run a command there"),
    "put": ("provision.commands.machines", "copy files to a machine, changed ones only"),
    "forward": ("provision.commands.machines", "make a port of a machine a port of this laptop"),
    "extend": ("provision.commands.ending", "give a machine more time"),
    "down": ("provision.commands.ending", "end machines, and prove that nothing is left"),
    "train": ("provision.commands.train", "start a training and follow it"),
    "resume": ("provision.commands.train", "go on with an interrupted training"),
    "runs": ("provision.commands.runs", "list the trainings"),
    "logs": ("provision.commands.runs", "print, follow or plot a training's log"),
    "stop": ("provision.commands.runs", "stop a training; its work is saved first"),
    "fetch": ("provision.commands.runs", "bring a training's results home"),
    "score": ("provision.commands.tasks", "evaluate a training's snapshots"),
    "infer": ("provision.commands.tasks", "use a training's net on images or a video"),
    "time": ("provision.commands.tasks", "time a net, layer by layer"),
    "diagnose": ("provision.commands.diagnose", "say why a training failed or stands still"),
    "audit": ("provision.commands.audit", "list everything of ours; find what has no living owner"),
    "cost": ("provision.commands.audit", "what machines have cost so far"),
    "recipe": ("provision.commands.recipe", "list, show, make and check recipes"),
    "net": ("provision.commands.net", "draw a net, or find what is wrong with it"),
    "box": ("provision.commands.box", "a development container that stays"),
    "image": ("provision.commands.image", "choose, render, build and check images"),
    "ami": ("provision.commands.ami", "bake, list and delete machine images of prepared hosts"),
    "data": ("provision.commands.data", "prepare data"),
    "doctor": ("provision.commands.doctor", "check credentials, permissions, quotas and this laptop"),
    "iam-policy": ("provision.commands.doctor", "print the IAM policy that provision needs"),
    "local": ("provision.commands.local", "the embedded local cloud"),
    "demo": ("provision.commands.demo", "the whole story in the local cloud"),
}


@click.group(cls=Lazy, table=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="provision")
def cli() -> None:
    """From a laptop to a training container on a rented GPU spot machine, and nothing left running afterwards."""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _unraisable(error: "sys.UnraisableHookArgs") -> None:
    """paramiko's files complain in their destructors where Ctrl-C hit their constructors: no matter for users."""
    if not str(getattr(error.object, "__module__", "")).startswith("paramiko"):
        sys.__unraisablehook__(error)


def run(words: list[str]) -> int:
    """Run one command; its exit code."""
    sys.unraisablehook = _unraisable
    try:
        code = cli.main(words, prog_name="provision", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ProvisionError as error:
        print(f"provision: {error.what}", file=sys.stderr)
        if error.mend:
            print(f"  → {error.mend}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("provision: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `provision logs RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
