"""The completions that a shell offers for a word that is being typed: names that are known without asking AWS.

Each is a `shell_complete` of click's. It says nothing where something is wrong: a message would end up in the middle
of the user's command.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.errors import ProvisionError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Suggest = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def _fitting(known: Callable[[click.Context], Iterable[str]]) -> Suggest:
    """A completion by the known names that begin with the typed text."""

    @wraps(known)
    def suggest(ctx: click.Context, _: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        with suppress(ProvisionError, OSError):
            return [CompletionItem(name) for name in sorted(set(known(ctx))) if name.startswith(incomplete)]
        return []

    return suggest


@_fitting
def machines(ctx: click.Context) -> Iterable[str]:
    """Machines that this laptop has notes on, in any account and region of the cloud in question."""
    from provision import settings
    from provision.machines import note_folders

    return note_folders.names(settings.load(cloud=ctx.params.get("cloud")).cloud)


@_fitting
def clusters(_: click.Context) -> Iterable[str]:
    """The clusters that this user has noted."""
    from provision.engines.slurm import cluster

    return cluster.names()


@_fitting
def recipes(ctx: click.Context) -> Iterable[str]:
    """Our recipes, and those of the project's folder."""
    from provision.recipes import loading

    return loading.names(Path(ctx.params.get("project") or "."))


@_fitting
def types(_: click.Context) -> Iterable[str]:
    """The AWS types with GPUs that provision knows."""
    from images import gpus

    return gpus.aws_types()


@_fitting
def stacks(_: click.Context) -> Iterable[str]:
    """The stacks of images."""
    from images import stacks

    return stacks.stacks()


@_fitting
def clouds(_: click.Context) -> Iterable[str]:
    """The values of `--cloud`, except for the names of local clouds."""
    return ("aws", "local")


def files(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Files, as the shell finds them. The ids of runs are known to S3 alone."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def recipes_or_files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Recipes; files where no recipe begins like that."""
    return recipes(ctx, parameter, incomplete) or files(ctx, parameter, incomplete)


@_fitting
def metrics(_: click.Context) -> Iterable[str]:
    """The forms of lines that tell numbers."""
    from provision.logs.metrics import asked

    return asked.FORMATS
