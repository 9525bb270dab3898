"""`cost`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from infra.errors import NotFoundError, ProvisionError
from provision import clouds, console
from provision.commands.options import MACHINE, cloud_options, json_option

if TYPE_CHECKING:
    from infra.aws.resources import Holding
    from infra.aws.session import Cloud
    from provision.machines.cost import Bill

_COLUMNS = (
    "name", "type", "market", "zone", "hours", "instance", "disk", "IPv4", "total", "saved", "per hour now",
    "budget left",
)  # fmt: skip


@dataclass
class _Bills:
    """What is billed in all regions: machines, kept things with their region, the bytes of runs and of images in S3
    by region, and where the prices on demand are from."""

    machines: list["Bill"] = field(default_factory=list)
    kept: list[tuple[str, "Holding"]] = field(default_factory=list)
    runs: list[tuple[str, int]] = field(default_factory=list)
    images: list[tuple[str, int]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)


@click.command()
@click.argument("name", type=MACHINE, required=False)
@cloud_options
@json_option
def cost(name: str | None, as_json: bool, **flags: Any) -> None:
    """Show what NAME (or every machine that AWS still knows) has cost so far, by real spot prices, with its disks.

    Without NAME the runs and images in S3 are shown, too. Not counted: requests, traffic and taxes.
    """
    from provision.account import audit as audits

    here = clouds.session(**flags)
    found = _Bills()
    for region in audits.regions(here.cloud, here.settings):
        _ask(replace(here.cloud, region=region), name, found)
    if name and not found.machines and not found.kept:
        raise NotFoundError(f"AWS knows no machine of the name {name!r}", "it forgets one an hour after its end")
    if as_json:
        _emit(found)
    else:
        _show(found)


def _ask(there: "Cloud", name: str | None, found: _Bills) -> None:
    from infra.aws.resources import Holdings
    from provision.machines import cost as costs
    from provision.offers import list_prices

    bills = costs.bills(there, name)
    found.machines += bills
    if bills:
        found.listed.append(list_prices.said(list_prices.ask(there, [bill.type for bill in bills])))
    things, errors = Holdings(there).look(name)
    if errors:
        raise errors[0]
    found.kept += [(there.region, holding) for holding in things if holding.kept]
    if name is None:
        _ask_for_runs(there, found)


def _ask_for_runs(there: "Cloud", found: _Bills) -> None:
    """The runs are the smallest part of a bill: where they cannot be listed that is said, and the rest is shown."""
    from provision.runs import store

    try:
        runs, images = store.stored_bytes(there)
        found.runs += [(there.region, runs)] if runs else []
        found.images += [(there.region, images)] if images else []
    except ProvisionError as error:
        console.line(f"runs and images in S3, {there.region}: {error.what}")


def _emit(found: _Bills) -> None:
    from infra.aws import prices
    from provision.machines import down

    kept = [{"region": region, **down.kept_row(holding, region)} for region, holding in found.kept]
    runs, images = (
        [
            {"region": region, "bytes": stored, "dollars_a_month": round(prices.s3_monthly(stored, region), 4)}
            for region, stored in some
        ]
        for some in (found.runs, found.images)
    )
    machines = [bill.as_json() for bill in found.machines]
    console.emit_json({"machines": machines, "kept": kept, "runs": runs, "images": images})


def _show(found: _Bills) -> None:
    from infra.aws import prices
    from provision.machines import cost as costs
    from provision.machines import down

    if not found.machines:
        console.say("AWS knows no machine of ours; it forgets one an hour after its end")
    else:
        console.table("", _COLUMNS, [_row(bill) for bill in found.machines])
    for region, holding in found.kept:
        console.say(down.kept_words(holding, region))
    for what, some in (("runs", found.runs), ("images", found.images)):
        for region, stored in some:
            monthly = costs.dollars(prices.s3_monthly(stored, region))
            console.say(f"{what} in S3, {region}: {console.size(stored)}, about {monthly} a month")
    for bill in found.machines:
        if bill.note:
            console.say(f"{bill.name}: {bill.note}")
    _show_sources([words for words in dict.fromkeys(found.listed) if words], prices.table().date)


def _show_sources(listed: Sequence[str], date: str) -> None:
    for words in listed:
        console.say(f"on demand: {words}")
    console.say(f"disks, addresses and S3: list prices of {date}; requests, traffic and taxes are not counted")


def _row(bill: "Bill") -> tuple[object, ...]:
    from provision.machines.cost import dollars

    left = "" if bill.budget is None else dollars(bill.left)
    hourly = "ended" if bill.hourly == 0 else dollars(bill.hourly)
    saved = "" if bill.saved is None else dollars(bill.saved)
    amounts = (dollars(bill.instance), dollars(bill.disk), dollars(bill.address), dollars(bill.total), saved)
    return bill.name, bill.type, bill.market, bill.zone, f"{bill.hours:.2f}", *amounts, hourly, left
