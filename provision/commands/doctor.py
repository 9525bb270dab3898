"""`doctor` and `iam-policy`: whether all that provision needs is there and allowed, and which permissions it needs."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import BUCKET, REGION, TYPE, cloud_options, json_option

if TYPE_CHECKING:
    from provision.account.permissions import Statement


@click.command()
@click.option("--instance", "kind", type=TYPE, help="check, too, whether this type can be rented now")
@cloud_options
@json_option
def doctor(kind: str | None, as_json: bool, **flags: Any) -> None:
    """Check credentials, permissions, quotas, machine images and this laptop, and change nothing."""
    from provision.account import doctor as checks

    found = checks.examine(clouds.session(**flags), kind or "")
    if as_json:
        console.emit_json([dataclasses.asdict(check) for check in found])
    else:
        console.table(
            "",
            ("check", "state", "found", "mend"),
            [(check.check, check.state, check.found, check.mend) for check in found],
        )
        console.say(_summary([check.state for check in found]))
    if code := checks.exit_code(found):
        raise click.exceptions.Exit(code)


def _summary(states: list[str]) -> str:
    failed, warned = states.count("fail"), states.count("warn")
    return f"{len(states)} checks: {failed} failed, {warned} with a warning"


@click.command("iam-policy")
@click.option("--why", is_flag=True, help="print a table of what each statement is for, in place of the policy")
@click.option("--boundary", is_flag=True, help="print the permissions boundary for the roles that provision makes")
@click.option("--prove", is_flag=True, help="print what `provision prove` takes besides, as a policy of its own")
@click.option(
    "--bucket", "buckets", multiple=True, type=BUCKET, metavar="NAME",
    help="with --boundary: let machines read data from this bucket, too (may be given again)",
)  # fmt: skip
@click.option("--region", type=REGION, help="print it for the AWS of this region (China and the US government differ)")
@json_option
def iam_policy(
    why: bool, boundary: bool, prove: bool, buckets: tuple[str, ...], region: str | None, as_json: bool
) -> None:  # fmt: skip
    """Print, as JSON, the smallest IAM policy with which a user can call provision.

    Where the settings name a permissions boundary, the policy allows no role without it; else what the policy can do to
    the account is told beside it.
    """
    from provision import settings
    from provision.account import permissions

    if buckets and not boundary:
        raise UsageError("--bucket belongs to the permissions boundary", "add --boundary")
    chosen = settings.load(region=region)
    if prove and (boundary or why):
        raise UsageError("--prove prints a policy of its own", "leave out --boundary and --why")
    if prove:
        console.emit_json(permissions.proving_policy(chosen.region))
    elif boundary:
        console.emit_json(permissions.boundary_policy(chosen.region, buckets))
    elif why:
        _tell_why(as_json)
    else:
        console.emit_json(permissions.policy(chosen.region, chosen.permissions_boundary or ""))
        console.line(_bound(chosen.permissions_boundary))


def _bound(boundary: str | None) -> str:
    from provision.account import permissions

    if boundary is None:
        return permissions.RISK
    return (
        f"No role is made, and none is given rights, but with the permissions boundary {boundary}.\n"
        "  Roles that were made before are without it: end their machines, and delete the role provision-scheduler,\n"
        "  which the next launch makes again."
    )


def _tell_why(as_json: bool) -> None:
    from provision.account import permissions

    found = permissions.statements()
    if as_json:
        console.emit_json([{"id": one.id, "actions": one.actions, "why": one.why} for one in found])
        return
    rows = [(one.id, " ".join(one.actions), _only(one), one.why) for one in found]
    console.table("", ("statement", "actions", "only", "why"), rows)


def _only(statement: "Statement") -> str:
    tagged = f"with our tag on the {statement.tagged}" if statement.tagged else ""
    ours = "in the own account" if statement.ours else ""
    bounded = "roles with the permissions boundary" if statement.bounded or statement.with_boundary else ""
    return tagged or ours or bounded
