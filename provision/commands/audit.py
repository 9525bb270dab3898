"""`audit`."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from infra.errors import LeftoverError
from provision import clouds, console
from provision.commands.options import cloud_options, json_option

if TYPE_CHECKING:
    from provision.account.audit import Finding, Report


_FEW = 4  # regions: more of them are counted, not named


@click.command()
@click.option(
    "--all-regions", is_flag=True, help="look in every region of the account, not only in those that were used"
)
@click.option("--fix", is_flag=True, help="end everything that has no living owner")
@click.option(
    "--grace",
    type=click.FloatRange(0, 525_600),
    default=15,
    help="minutes: a younger resource counts as part of a launch in progress",
)
@cloud_options
@json_option
def audit(all_regions: bool, fix: bool, grace: float, as_json: bool, **flags: Any) -> None:
    """List everything of ours. The exit code is 18 if anything is billed, or left over, without a living owner.

    The command asks no question, so it can run in cron and CI.
    """
    from dataclasses import replace

    from provision.account import audit as audits
    from provision.machines.finish import finish

    here = clouds.session(**flags)
    young = timedelta(minutes=grace)
    where = audits.regions(here.cloud, here.settings, all_regions)
    for region in where:
        finish(replace(here.cloud, region=region), console.line)
    report = audits.audit(here.cloud, where, young)
    ended: list[Finding] = []
    if fix:
        ended, report = audits.fix(here.cloud, report, young)
    if as_json:
        console.emit_json(_audit_json(report, ended))
    else:
        _show_audit(report, ended)
    _verdict(here, report, f"audit{' --all-regions' * all_regions} --fix")


def _verdict(here: clouds.Session, report: "Report", end: str) -> None:
    """LeftoverError where something is left over; `end` is the command that ends it, but for what others launched."""
    if report.bad:
        words = ", ".join(f"{_kind(finding)} {finding.thing.label} in {finding.region}" for finding in report.bad)
        mends = [f"end them: {here.hint(end)}"] if any(not finding.spared for finding in report.bad) else []
        mends += [_others(here, finding) for finding in report.bad if finding.spared and _is_machine(finding)]
        raise LeftoverError(f"{len(report.bad)} without a living owner: {words}", "; ".join(mends))
    if report.errors:
        raise report.errors[0][1]


def _is_machine(finding: "Finding") -> bool:
    return finding.thing.kind == "instances"


def _others(here: clouds.Session, finding: "Finding") -> str:
    from dataclasses import replace

    from infra.laptop import person_of

    there = replace(here.cloud, region=finding.region)
    by_hand = there.hint(f"down {finding.thing.name} --force")
    return f"{finding.thing.label} is {person_of(finding.owner)}'s, who may end it; or: {by_hand}"


def _audit_json(report: "Report", ended: Sequence["Finding"]) -> dict[str, Any]:
    return {
        "regions": report.regions,
        "findings": [finding.as_json() for finding in report.findings],
        "ended": [finding.as_json() for finding in ended if finding not in report.bad],
        "errors": [{"region": region, "what": error.what} for region, error in report.errors],
        "bad": len(report.bad),
    }


def _show_audit(report: "Report", ended: Sequence["Finding"]) -> None:
    from provision.machines.cost import dollars

    for finding in ended:
        console.say(f"ended {_kind(finding)} {finding.thing.label} in {finding.region}: {finding.why}")
    few = len(report.regions) <= _FEW
    where = ", ".join(report.regions) if few else f"{len(report.regions)} regions"
    for region, error in report.errors:
        console.line(f"{region}: {error.what}")
    if not report.findings:
        console.say(f"nothing of ours in {where}")
        return
    console.table("", *_audit_table(report))
    hourly = dollars(sum(finding.price or 0.0 for finding in report.findings))
    console.say(f"{len(report.findings)} of ours in {where}, {hourly}/h; without a living owner: {len(report.bad)}")


def _audit_table(report: "Report") -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The columns and rows; the owner has a column where not all is this laptop's own."""
    from provision.machines import whose

    columns = ("region", "kind", "which", "name", "state", "age", "ends", "$/h", "verdict")
    rows = [_audit_row(finding) for finding in report.findings]
    if not any(whose.others(finding.owner) for finding in report.findings):
        return columns, rows
    return (*columns, "owner"), [
        (*row, whose.person(finding.owner)) for row, finding in zip(rows, report.findings, strict=True)
    ]


def _kind(finding: "Finding") -> str:
    return finding.thing.kind.removesuffix("s")


def _audit_row(finding: "Finding") -> tuple[object, ...]:
    thing = finding.thing
    age = console.span((datetime.now(timezone.utc) - thing.made).total_seconds()) if thing.made else ""
    ends = f"{thing.deadline:%Y-%m-%d %H:%M} UTC" if thing.deadline and thing.kind == "instances" else ""
    price = "?" if finding.price is None else f"{finding.price:.4f}" if finding.price else ""
    verdict = f"{finding.verdict}: {finding.why}" if finding.bad else finding.verdict
    return finding.region, thing.kind, thing.label, thing.name, thing.state, age, ends, price, verdict
