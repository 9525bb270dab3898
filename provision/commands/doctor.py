"""`doctor` and `iam-policy`: whether all is there and allowed, and what has to be."""

import dataclasses
from typing import Any

import click

from provision import clouds, console, settings
from provision.commands.options import cloud_options, json_option


@click.command()
@click.option("--instance", "kind", default="", help="also whether this type can be rented now")
@cloud_options
@json_option
def doctor(kind: str, as_json: bool, **flags: Any) -> None:
    """Check credentials, permissions, quotas, machine images and this laptop. Changes nothing."""
    from provision import doctor as checks

    chosen = settings.load(**flags)
    found = checks.examine(clouds.resolve(chosen), chosen, kind)
    if as_json:
        console.emit_json([dataclasses.asdict(one) for one in found])
    else:
        console.table("", ("check", "state", "found", "mend"), [(o.check, o.state, o.found, o.mend) for o in found])
        console.say(_summary([one.state for one in found]))
    if code := checks.exit_code(found):
        raise click.exceptions.Exit(code)


def _summary(states: list[str]) -> str:
    failed, warned = states.count("fail"), states.count("warn")
    return f"{len(states)} checks: {failed} failed, {warned} with a warning"


@click.command("iam-policy")
@click.option("--why", is_flag=True, help="a table of what each statement is for, in place of the policy")
@json_option
def iam_policy(why: bool, as_json: bool) -> None:
    """Print the IAM policy for the user who calls provision: the least that it needs, as JSON."""
    from provision import permissions

    if not why:
        console.emit_json(permissions.policy())
        return
    if as_json:
        console.emit_json([{"id": one.id, "actions": one.actions, "why": one.why} for one in permissions.statements()])
        return
    rows = [(one.id, " ".join(one.actions), one.tagged or "", one.why) for one in permissions.statements()]
    console.table("", ("statement", "actions", "only with our tag on the", "why"), rows)
