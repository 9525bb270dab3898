"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def cloud_options(command: Command) -> Command:
    """--cloud and --region."""
    command = click.option("--region", help="AWS region (settings: region)")(command)
    return click.option("--cloud", help="aws, local or local:NAME (settings: cloud)")(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="print JSON")(command)


def dry_run_option(command: Command) -> Command:
    return click.option("--dry-run", is_flag=True, help="print what would be done, and do nothing")(command)


def machine_options(command: Command) -> Command:
    """What kind of machine to rent."""
    options = [
        click.option("--spot/--on-demand", "spot", default=True, help="spot is cheaper and can be taken away"),
        click.option("--max-price", type=float, help="highest spot price, dollars an hour"),
        click.option("--disk", "disk_gb", type=int, help="root disk in GB"),
        click.option("--max-hours", type=float, help="the machine ends by itself after this time"),
    ]
    for option in reversed(options):
        command = option(command)
    return command
