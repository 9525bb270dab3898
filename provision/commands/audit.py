"""`audit` and `cost`."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from infra.errors import LeftoverError, NotFoundError
from provision import clouds, console, settings
from provision.commands.options import cloud_options, json_option

if TYPE_CHECKING:
    from infra.aws.holdings import Holding
    from provision.audit import Finding, Report
    from provision.cost import Bill


_FEW = 4


@click.command()
@click.option("--all-regions", is_flag=True, help="every region of the account, not only those that were used")
@click.option("--fix", is_flag=True, help="end what has no living owner")
@click.option(
    "--grace", type=click.FloatRange(min=0), default=15, help="minutes: what is younger is a launch in progress"
)
@cloud_options
@json_option
def audit(all_regions: bool, fix: bool, grace: float, as_json: bool, **flags: Any) -> None:
    """List everything of ours. Exit code 18 if anything is billed, or left over, without a living owner.

    Asks nothing: fit for cron and CI.
    """
    from provision import audit as audits

    chosen = settings.load(**flags)
    cloud = clouds.resolve(chosen)
    young = timedelta(minutes=grace)
    report = audits.audit(cloud, audits.regions(cloud, chosen, all_regions), young)
    ended: list[Finding] = []
    if fix:
        ended, report = audits.fix(cloud, report, young)
    if as_json:
        console.emit_json(_audit_json(report, ended))
    else:
        _show_audit(report, ended)
    _verdict(report)


def _verdict(report: "Report") -> None:
    if report.bad:
        words = ", ".join(f"{_kind(one)} {one.thing.label} in {one.region}" for one in report.bad)
        raise LeftoverError(f"{len(report.bad)} without a living owner: {words}", "end them: provision audit --fix")
    if report.errors:
        raise report.errors[0][1]


def _audit_json(report: "Report", ended: Sequence["Finding"]) -> dict[str, Any]:
    return {
        "regions": report.regions,
        "findings": [one.as_json() for one in report.findings],
        "ended": [one.as_json() for one in ended if one not in report.bad],
        "errors": [{"region": region, "what": error.what} for region, error in report.errors],
        "bad": len(report.bad),
    }


def _show_audit(report: "Report", ended: Sequence["Finding"]) -> None:
    from provision.cost import dollars

    for one in ended:
        console.say(f"ended {_kind(one)} {one.thing.label} in {one.region}: {one.why}")
    few = len(report.regions) <= _FEW
    where = ", ".join(report.regions) if few else f"{len(report.regions)} regions"
    for region, error in report.errors:
        console.line(f"{region}: {error.what}")
    if not report.findings:
        console.say(f"nothing of ours in {where}")
        return
    columns = ("region", "kind", "which", "name", "state", "age", "ends", "$/h", "verdict")
    console.table("", columns, [_audit_row(one) for one in report.findings])
    hourly = dollars(sum(one.price or 0.0 for one in report.findings))
    console.say(f"{len(report.findings)} of ours in {where}, {hourly}/h; without a living owner: {len(report.bad)}")


def _kind(one: "Finding") -> str:
    return one.thing.kind.removesuffix("s")


def _audit_row(one: "Finding") -> tuple[object, ...]:
    thing = one.thing
    age = console.span((datetime.now(timezone.utc) - thing.made).total_seconds()) if thing.made else ""
    ends = f"{thing.deadline:%Y-%m-%d %H:%M} UTC" if thing.deadline and thing.kind == "instances" else ""
    price = "?" if one.price is None else f"{one.price:.4f}" if one.price else ""
    verdict = f"{one.verdict}: {one.why}" if one.bad else one.verdict
    return one.region, thing.kind, thing.label, thing.name, thing.state, age, ends, price, verdict


@click.command()
@click.argument("name", required=False)
@cloud_options
@json_option
def cost(name: str | None, as_json: bool, **flags: Any) -> None:
    """What NAME (or every machine that AWS still knows) has cost so far: real spot prices, and disks."""
    from dataclasses import replace

    from infra.aws.holdings import Holdings
    from provision import audit as audits
    from provision import cost as costs

    chosen = settings.load(**flags)
    cloud = clouds.resolve(chosen)
    bills: list[Bill] = []
    kept: list[tuple[str, Holding]] = []
    for region in audits.regions(cloud, chosen):
        there = replace(cloud, region=region)
        bills += costs.bills(there, name)
        things, errors = Holdings(there).look(name)
        if errors:
            raise errors[0]
        kept += [(region, one) for one in things if one.kept]
    if name and not bills and not kept:
        raise NotFoundError(f"AWS knows no machine of the name {name!r}", "it forgets one an hour after its end")
    if as_json:
        _emit_cost(bills, kept)
    else:
        _show_cost(bills, kept)


def _emit_cost(bills: Sequence["Bill"], kept: Sequence[tuple[str, "Holding"]]) -> None:
    from provision import ending

    rows = [{"region": region, **ending.kept_row(one, region)} for region, one in kept]
    console.emit_json({"machines": [one.as_json() for one in bills], "kept": rows})


def _show_cost(bills: Sequence["Bill"], kept: Sequence[tuple[str, "Holding"]]) -> None:
    from infra.aws import prices
    from provision import ending

    if not bills:
        console.say("AWS knows no machine of ours; it forgets one an hour after its end")
    else:
        columns = (
            "name",
            "type",
            "market",
            "zone",
            "hours",
            "instance",
            "disk",
            "total",
            "per hour now",
            "budget left",
        )
        console.table("", columns, [_cost_row(one) for one in bills])
    for region, one in kept:
        console.say(ending.kept_words(one, region))
    for bill in bills:
        if bill.note:
            console.say(f"{bill.name}: {bill.note}")
    if any(bill.market != "spot" for bill in bills):
        console.say(f"on demand: list prices of {prices.table().date}")


def _cost_row(bill: "Bill") -> tuple[object, ...]:
    from provision.cost import dollars

    left = "" if bill.budget is None else dollars(bill.left)
    hourly = "ended" if bill.hourly == 0 else dollars(bill.hourly)
    amounts = (dollars(bill.instance), dollars(bill.disk), dollars(bill.total), hourly, left)
    return bill.name, bill.type, bill.market, bill.zone, f"{bill.hours:.2f}", *amounts
