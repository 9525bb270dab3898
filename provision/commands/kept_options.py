"""Options of a training that AWS keeps, and of one that goes on."""

from typing import Any

import click

from infra.errors import UsageError
from provision.commands import options
from provision.commands.options import Command, all_of


def kept_options(command: Command) -> Command:
    """Add the options of a training that AWS keeps, on a machine that is rented for it."""
    return all_of(command, [
        click.option("--no-keeper", "alone", is_flag=True,
                     help="this laptop sees it through, and stays on: for accounts without Step Functions"),
        click.option("--wait-for-capacity", "wait_hours", type=click.FloatRange(0, 168), metavar="HOURS",
                     help="how long AWS waits for a machine, then on demand with --fallback (default: 1)"),
        click.option("--notify", metavar="ARN|E-MAIL|URL",
                     help="whom AWS tells when it is interrupted, ends or fails: an SNS topic, an e-mail address, or "
                     "an https:// URL to which SNS posts"),
        click.option("--bake/--no-bake", default=None,
                     help="whether a machine that had to install its driver becomes a machine image at its end, from "
                     "which later ones start sooner (settings: bake; default: yes)"),
    ])  # fmt: skip


KEPT = ("wait_hours", "notify")


def refuse_unkept(given: dict[str, Any], why: str) -> None:
    """UsageError for what a keeper does at AWS, where `why` says that the training has none."""
    for key in (*KEPT, "bake"):
        if given.get(key) is not None:
            flag = options.flag_of(key, given[key])
            raise UsageError(f"{flag} is done by the training's keeper at AWS, and {why}", f"leave out {flag}")


def again_options(command: Command) -> Command:
    """Add the options that say from what a run goes on."""
    return all_of(command, [
        click.option("--from", "at", type=click.IntRange(min=0), metavar="ITERATION",
                     help="go on from this snapshot, and forget newer ones; 0: from nothing (default: the newest)"),
        click.option("--data", type=options.WORDS, help="take other data: a folder of this laptop, or an s3:// prefix"),
        click.option("--project", type=options.WORDS, help="take other code: a folder of this laptop"),
    ])  # fmt: skip
