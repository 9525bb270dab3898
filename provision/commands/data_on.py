"""`--on NAME` for commands that prepare data: the same command on a machine, where the data is.

One line gives it to a command, right above its function: `@on_option`. The paths that its user gives (parameters of
the type click.Path) are then paths of the machine, below /data; so such a command must look itself whether they exist.
"""

import functools
import shlex
from pathlib import PurePosixPath
from typing import Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import HOST, Command, cloud_options

_OURS = ("on", "cloud", "region", "dry_run")


def on_option(command: Command) -> Command:
    """Add --on, --cloud and --region: with --on the command runs in the image `tools` on that machine."""

    @functools.wraps(command)
    def call(on: str | None, cloud: str | None, region: str | None, **given: Any) -> Any:
        if on is None:
            return command(**given)
        context = click.get_current_context()
        check_paths(context)
        words = ["data", *words_of(context)]
        if given.get("dry_run"):
            console.say(f"would run on {on}: {shlex.join(['provision', *words])}")
            return 0
        return _there(on, cloud, region, words)

    help_text = "run it on that machine (or ssh://user@host): paths are there, below /data"
    return click.option("--on", type=HOST, metavar="NAME", help=help_text)(cloud_options(call))


def _there(on: str, cloud: str | None, region: str | None, words: list[str]) -> int:
    from infra.ssh import SshShell
    from provision.commands.session import Place
    from provision.hosts import tools

    with Place(on, cloud, region).shell() as shell:
        assert isinstance(shell, SshShell)  # a Place with `on` gives no other shell
        return tools.run(shell, words)


def check_paths(context: click.Context) -> None:
    """Raise a UsageError for a path that is not below the machine's /data."""
    for param in context.command.params:
        value = context.params.get(str(param.name))
        if value is None or value == param.get_default(context) or not isinstance(param.type, click.Path):
            continue
        for path in value if isinstance(value, tuple) else (value,):
            if str(path).startswith(("http://", "https://")):
                continue
            pure = PurePosixPath(path)
            if pure.parts[:2] != ("/", "data") or ".." in pure.parts:
                put = clouds.hint(
                    "put NAME FILE /data/…", **{key: context.params.get(key) for key in ("cloud", "region")}
                )
                raise UsageError(
                    f"with --on a path is the machine's, below /data, and {path} is not",
                    f"write it whole, as /data/sets/NAME; `{put}` brings yours there",
                )


def words_of(context: click.Context) -> list[str]:
    """The command's words again, without --on: options that differ from their defaults, then arguments."""
    options: list[str] = []
    arguments: list[str] = []
    for param in context.command.params:
        value = context.params.get(str(param.name))
        if param.name in _OURS or value is None or value == param.get_default(context):
            continue
        values = [str(part) for part in (value if isinstance(value, tuple) else (value,))]
        if isinstance(param, click.Option):
            options += _option(param, value, values)
        else:
            arguments += values
    return [str(context.command.name), *options, *arguments]


def _option(param: click.Option, value: Any, values: list[str]) -> list[str]:
    if param.is_flag:
        return [param.opts[0] if value else param.secondary_opts[0]]
    if param.multiple:
        return [word for text in values for word in (param.opts[0], text)]
    return [param.opts[0], *values]
