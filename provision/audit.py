"""Audit: everything of ours in some regions, and what of it has no living owner.

An orphan is billed and nothing ends it; a stray is free and belongs to nothing that lives. What was made within the
time of grace, here or on another laptop, is a launch in progress. What an account needs once (the role and the group of
the schedules, the bucket of the runs) is no part of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from infra.aws import prices
from infra.aws.holdings import BILLED, Holding, Holdings
from infra.aws.regions import names as region_names
from infra.aws.removal import Removal
from infra.aws.session import Cloud
from infra.errors import ProvisionError
from infra.together import together
from provision import cost, ending, notes
from provision.settings import Settings

GRACE = timedelta(minutes=15)  # for a launch to be seen whole, and after a deadline for powering off and the schedule
_FIXES = 3


@dataclass(frozen=True)
class Finding:
    """One thing of ours and what is to be said of it. `verdict` is orphan, stray, kept, new or "" (its owner lives).

    `price` is in US dollars an hour, None where it is not known.
    """

    region: str
    thing: Holding
    verdict: str
    why: str
    price: float | None

    @property
    def bad(self) -> bool:
        return self.verdict in ("orphan", "stray")

    def as_json(self) -> dict[str, Any]:
        thing = self.thing
        return {
            "region": self.region, "kind": thing.kind, "id": thing.id, "label": thing.label, "name": thing.name,
            "state": thing.state, "made": thing.made.isoformat() if thing.made else None,
            "deadline": thing.deadline.isoformat() if thing.deadline else None,
            "dollars_an_hour": None if self.price is None else round(self.price, 5),
            "verdict": self.verdict, "why": self.why,
        }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What there is; `errors`: what could not be looked at, with its region."""

    regions: tuple[str, ...]
    findings: tuple[Finding, ...]
    errors: tuple[tuple[str, ProvisionError], ...] = ()

    @property
    def bad(self) -> list[Finding]:
        return [one for one in self.findings if one.bad]


def regions(cloud: Cloud, settings: Settings, every: bool = False) -> list[str]:
    """Where to look: every region that the account may use, or those of the settings and of this laptop's notes."""
    if every:
        return region_names(cloud)
    return list(dict.fromkeys([cloud.region, *settings.more_regions, *notes.regions(cloud)]))


def audit(cloud: Cloud, where: Sequence[str], grace: timedelta = GRACE) -> Report:
    """Look at all of ours in these regions, at once."""
    seen, _ = together([partial(_look, replace(cloud, region=region), grace) for region in where], at_once=8)
    findings = [one for found, _ in seen for one in found]
    errors = [(region, error) for region, (_, unseen) in zip(where, seen, strict=True) for error in unseen]
    return Report(tuple(where), tuple(findings), tuple(errors))


def fix(cloud: Cloud, report: Report, grace: timedelta = GRACE) -> tuple[list[Finding], Report]:
    """End the orphans and strays with all else of their launches. What was found bad, and a new report."""
    ended: dict[tuple[str, str, str], Finding] = {}
    for _ in range(_FIXES):  # what an orphan held is a stray after it
        bad = report.bad
        if not bad:
            break
        ended.update({(one.region, one.thing.kind, one.thing.id): one for one in bad})
        doomed = {region: _doomed(report, region) for region in {one.region for one in bad}}
        tasks = [
            partial(ending.end, Removal(replace(cloud, region=region)), things) for region, things in doomed.items()
        ]
        together(tasks)  # what fails is still there in the next report
        report = audit(cloud, report.regions, grace)
    return list(ended.values()), report


def _doomed(report: Report, region: str) -> list[Holding]:
    """The bad ones of a region, and what belongs to the same launches as an instance that is an orphan."""
    here = [one for one in report.findings if one.region == region]
    launches = {one.thing.resource for one in here if one.bad and one.thing.kind == "instances"} - {""}
    return [one.thing for one in here if one.bad or (one.thing.resource in launches and one.verdict != "kept")]


def _look(cloud: Cloud, grace: timedelta) -> tuple[list[Finding], list[ProvisionError]]:
    things, errors = Holdings(cloud).look()
    return judge(cloud.region, things, intents(cloud), datetime.now(timezone.utc), grace), errors


def intents(cloud: Cloud) -> dict[str, datetime]:
    """The launches that this laptop has noted in this region and not seen yet: their resource's name → when."""
    base = notes.folder(cloud, "x").parent
    found = {}
    for path in base.glob("*/intent.json"):
        try:
            note = json.loads(path.read_text())
            request = note["request"]
            resource = f"provision-{request['name']}-{request['token'][:8]}"
            found[resource] = datetime.fromtimestamp(note["time"], timezone.utc)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half-written by a killed client, or just removed by one that lives
    return found


def judge(
    region: str, things: Sequence[Holding], noted: Mapping[str, datetime], now: datetime, grace: timedelta = GRACE
) -> list[Finding]:
    """Each thing's verdict. `noted`: launches in progress, as `intents` gives them."""
    births = [(one.resource, one.made) for one in things if one.made and one.resource]
    young = {resource for resource, at in [*noted.items(), *births] if now - at < grace}
    living = {one.id for one in things if one.kind == "instances"}
    launches = {one.resource for one in things if one.kind == "instances"} - {""}

    def verdict(one: Holding) -> tuple[str, str]:
        if one.kept:
            return "kept", "on purpose"
        said = _instance(one, now - grace) if one.kind == "instances" else _belonging(one, living, launches)
        if not said:
            return "", ""
        if one.resource in young or (one.made and now - one.made < grace):
            return "new", said
        return "orphan" if one.kind in BILLED or one.state == "open" else "stray", said

    return [Finding(region, one, *verdict(one), price(one, region)) for one in things]


def _instance(one: Holding, before: datetime) -> str:
    """Why nothing ends it; "" where something will."""
    if one.deadline is None:
        return "it has no deadline"
    if one.deadline < before:
        return f"its deadline was {one.deadline:%Y-%m-%d %H:%M} UTC"
    return "it is stopped, and its disks are billed" if one.state in ("stopping", "stopped") else ""


def _belonging(one: Holding, living: set[str], launches: set[str]) -> str:
    """Why it belongs to nothing that lives; "" where it does."""
    if one.kind in ("volumes", "network interfaces", "elastic IPs"):
        return "" if one.instance or one.state == "in-use" else "it is attached to nothing"
    if one.instance:
        return "" if one.instance in living else f"{one.instance} is gone"
    if one.kind in ("snapshots", "machine images"):
        return "nothing of ours makes such a one"
    return "" if one.resource in launches else "no machine of that launch lives"


def price(one: Holding, region: str) -> float | None:
    """US dollars an hour: an instance as it was expected at its launch (0 when stopped), a disk by the list."""
    if one.kind == "instances":
        said = one.tags.get("provision:price")
        return 0.0 if one.state == "stopped" else float(said) if said else None
    if one.kind == "volumes":
        return prices.disk_hourly(one.gb, region)
    if one.kind == "elastic IPs":
        return prices.ADDRESS_HOURLY
    return cost.kept_monthly(one, region) / (30 * 24)
