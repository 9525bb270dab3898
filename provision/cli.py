"""The command line. Commands are imported when they are called: `provision --help` stays quick.

Every error that a user can cause is caught here, once: one message, one exit code, no traceback.
"""

import importlib
import os
import sys

import click

from infra.errors import ProvisionError

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
    "audit": ("provision.commands.audit", "list everything of ours; find what has no living owner"),
    "cost": ("provision.commands.audit", "what machines have cost so far"),
    "image": ("provision.commands.image", "choose, render, build and check images"),
    "ami": ("provision.commands.ami", "bake, list and delete machine images of prepared hosts"),
    "data": ("provision.commands.data", "prepare data"),
    "doctor": ("provision.commands.doctor", "check credentials, permissions, quotas and this laptop"),
    "iam-policy": ("provision.commands.doctor", "print the IAM policy that provision needs"),
    "local": ("provision.commands.local", "the embedded local cloud"),
    "demo": ("provision.commands.demo", "the whole story in the local cloud"),
}


class _Lazy(click.Group):
    """A group that imports a command's module when the command is called, and not for the list of all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="provision")
def cli() -> None:
    """From a laptop to a training container on a rented GPU spot machine, and nothing left running afterwards."""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run one command; its exit code."""
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
