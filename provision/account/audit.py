"""Audit: everything of ours in some regions, and what of it has no living owner.

An orphan is billed and nothing ends it; a stray is free and belongs to nothing that lives. What was made within the
time of grace, here or on another laptop, is a launch in progress. What an account needs once (the role and the group of
the schedules, the bucket of the runs) is no part of it.

What a keeper keeps belongs to its run, also while that waits for a machine: as long as the run's execution goes on,
nothing of its launch is a stray. State machines of earlier definitions cost nothing and may have executions still: they
are shown, and left.

Machine images that we baked are kept on purpose. Not those that AWS could not make, a snapshot that is left of one,
and one that a keeper made with a driver that no machine gets any more: it goes once no run is kept that may use it.

The role of a machine may read data while `provision data sync --on` copies it (an inline policy). A laptop that was
killed meanwhile left that right there: it is a stray once its time is over, or where an older version gave it no end.

A topic that tells an address how runs go is kept, and costs nothing; one that no address hears is a stray. Images in
the bucket are kept, too, until somebody deletes them (`image forget`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from infra.aws import prices, topics
from infra.aws.cleanup import Removal
from infra.aws.iam import Iam
from infra.aws.machine_images import BAKED
from infra.aws.regions import names as region_names
from infra.aws.resources import BILLED, Holding, Holdings
from infra.aws.session import Cloud
from infra.aws.step_functions import Keeper
from infra.aws.tags import DRIVER, TagRecord
from infra.concurrency import together
from infra.errors import ProvisionError
from provision.account import kept_things
from provision.account.kept_things import IMAGES, TOPICS
from provision.engines import definition
from provision.engines.rights import TAG
from provision.machines import cost, down, journal, whose
from provision.offers import amis
from provision.settings import Settings

GRACE = timedelta(minutes=15)  # for a launch to be seen whole, and after a deadline for powering off and the schedule
_FIXES = 3  # what an orphan held is a stray after its end, and what that held in the next look
RIGHTS = "data rights"
KEEPERS, KEPT = "keepers", "kept runs"
# the inline policies that let a machine read data: provision-data-UNTIL-0123, or data-01234567 of older versions
_RIGHT = re.compile(r"provision-data-(?P<until>\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\dZ)-\w+|data-[0-9a-f]{8}")


@dataclass(frozen=True)
class Finding:
    """One thing of ours and what is to be said of it. `verdict` is orphan, stray, kept, new or "" (its owner lives).

    `price` is in US dollars an hour, None where it is not known. `owner` launched it, as tags tell; `spared`: it lives,
    or belongs to a machine that does, and is another's, so that `fix` leaves it.
    """

    region: str
    thing: Holding
    verdict: str
    why: str
    price: float | None
    owner: str = ""
    spared: bool = False

    @property
    def bad(self) -> bool:
        """Whether it is to be ended."""
        return self.verdict in ("orphan", "stray")

    def as_json(self) -> dict[str, Any]:
        """The finding for programs; times in ISO 8601."""
        thing = self.thing
        return {
            "region": self.region, "kind": thing.kind, "id": thing.id, "label": thing.label, "name": thing.name,
            "state": thing.state, "made": thing.made.isoformat() if thing.made else None,
            "deadline": thing.deadline.isoformat() if thing.deadline else None,
            "dollars_an_hour": None if self.price is None else round(self.price, 5),
            "owner": self.owner, "verdict": self.verdict, "why": self.why,
        }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What there is; `errors`: what could not be looked at, with its region."""

    regions: tuple[str, ...]
    findings: tuple[Finding, ...]
    errors: tuple[tuple[str, ProvisionError], ...] = ()

    @property
    def bad(self) -> list[Finding]:
        """What is to be ended."""
        return [finding for finding in self.findings if finding.bad]


def regions(cloud: Cloud, settings: Settings, every: bool = False) -> list[str]:
    """Where to look: every region that the account may use, or those of the settings and of this laptop's notes."""
    if every:
        return region_names(cloud)
    return list(dict.fromkeys([cloud.region, *settings.more_regions, *journal.regions(cloud)]))


def audit(cloud: Cloud, where: Sequence[str], grace: timedelta = GRACE) -> Report:
    """Look at all of ours in these regions, at once. What cannot be looked at is in the report, and not raised."""
    seen, _ = together([partial(_look, replace(cloud, region=region), grace) for region in where], at_once=8)
    findings = [finding for found, _ in seen for finding in found]
    errors = [(region, error) for region, (_, unseen) in zip(where, seen, strict=True) for error in unseen]
    return Report(tuple(where), tuple(findings), tuple(errors))


def fix(cloud: Cloud, report: Report, grace: timedelta = GRACE) -> tuple[list[Finding], Report]:
    """End the orphans and strays with all else of their launches. What was found bad, and a new report.

    The machines of others, and what belongs to these while they live, are left as they are. What cannot be ended is in
    the new report, and its error is not raised.
    """
    ended: dict[tuple[str, str, str], Finding] = {}
    for _ in range(_FIXES):
        bad = [finding for finding in report.bad if not finding.spared]
        if not bad:
            break
        ended.update({(finding.region, finding.thing.kind, finding.thing.id): finding for finding in bad})
        doomed = {region: _doomed(report, region) for region in {finding.region for finding in bad}}
        tasks = [partial(_end, replace(cloud, region=region), things) for region, things in doomed.items()]
        together(tasks)  # what fails is still there in the next report
        report = audit(cloud, report.regions, grace)
    return list(ended.values()), report


def _doomed(report: Report, region: str) -> list[Holding]:
    """The bad ones of a region, and what belongs to the same launches as an instance that is an orphan."""
    here = [finding for finding in report.findings if finding.region == region and not finding.spared]
    launches = {finding.thing.launch for finding in here if finding.bad and finding.thing.kind == "instances"} - {""}
    along = [finding for finding in here if finding.thing.launch in launches and finding.verdict != "kept"]
    return [finding.thing for finding in here if finding.bad or finding in along]


def _end(cloud: Cloud, things: Sequence[Holding]) -> None:
    rights = [thing for thing in things if thing.kind == RIGHTS]
    unheard = [thing for thing in things if thing.kind == TOPICS]
    together([partial(Iam(cloud).forbid, thing.launch, thing.id) for thing in rights])
    together([partial(topics.forget, cloud, thing.row["TopicArn"]) for thing in unheard])
    down.end(Removal(cloud), [thing for thing in things if thing.kind not in (RIGHTS, TOPICS)])


def _look(cloud: Cloud, grace: timedelta) -> tuple[list[Finding], list[ProvisionError]]:
    kept, unseen = _kept(cloud)  # first: a run that begins meanwhile is new, one that ends has cleared its things
    things, errors = Holdings(cloud).look()
    if unseen:  # each run that a thing's tag names may go on
        kept = [Holding(KEPT, run, state="unseen") for run in sorted({one.tags.get(TAG, "") for one in things} - {""})]
    rights, more = _rights(cloud, things)
    told, unlisted = kept_things.topics_of(cloud)
    images, unlooked = together([partial(kept_things.images, cloud)])
    held = [one for some in images for one in some]
    now = datetime.now(timezone.utc)
    all_things = [*things, *rights, *told, *held, *kept]
    found = judge(cloud.region, all_things, journal.launches(cloud), now, grace, seen=not errors)
    return found, [*errors, *more, *unlisted, *unlooked, *unseen]


def _kept(cloud: Cloud) -> tuple[list[Holding], list[ProvisionError]]:
    """The keepers and the runs that they keep, and why they could not be seen."""
    keeper, now = Keeper(cloud), definition.machine_name(cloud.region)
    listed, unlisted = together([keeper.machines])
    made = {name: at for names in listed for name, at in names.items()}
    running, errors = together([partial(keeper.executions, name) for name in made], at_once=8)
    machines = [
        Holding(KEEPERS, name, state="current" if name == now else "earlier", made=at, kept=True)
        for name, at in made.items()
    ]
    started = [row for some in running for row in some.items()]
    runs = [Holding(KEPT, name.rpartition("-")[0], state="going on", made=at) for name, at in started]
    return [*machines, *runs], [*unlisted, *errors]


def _rights(cloud: Cloud, things: Sequence[Holding]) -> tuple[list[Holding], list[ProvisionError]]:
    """The rights to data of machines that live, and why they could not be seen. Other roles go with their rights."""
    launches = {thing.launch for thing in things if thing.kind == "instances"}
    roles = [thing for thing in things if thing.kind == "roles" and thing.launch in launches]
    policies, errors = together([partial(_rights_of, cloud, role) for role in roles], at_once=8)
    return [right for rights in policies for right in rights], errors


def _rights_of(cloud: Cloud, role: Holding) -> list[Holding]:
    policies = Iam(cloud).policies(role.id)
    return [Holding(RIGHTS, policy, role.name, role.launch) for policy in policies if _RIGHT.fullmatch(policy)]


def judge(
    region: str, things: Sequence[Holding], noted: Mapping[str, datetime], now: datetime, grace: timedelta = GRACE, *,
    seen: bool = True,
) -> list[Finding]:  # fmt: skip
    """Each thing's verdict. `noted`: launches in progress, as `journal.launches` gives them; `seen`: all kinds of
    things could be listed."""
    births = [(thing.launch, thing.made) for thing in things if thing.made and thing.launch]
    young = {resource for resource, at in [*noted.items(), *births] if now - at < grace}
    living = {thing.id for thing in things if thing.kind == "instances"}
    runs = {thing.id for thing in things if thing.kind == KEPT}
    launches = {thing.launch for thing in things if thing.kind == "instances" or thing.tags.get(TAG, "") in runs} - {""}
    owners = whose.owners(things)
    useless = _useless(things, bool(runs)) if seen else {}

    def verdict(thing: Holding) -> tuple[str, str]:
        if thing.kept and thing.id not in useless:
            return "kept", "on purpose"
        if thing.kind == KEPT:
            return "", ""
        if thing.kept:
            said = useless[thing.id]
        elif thing.kind in (RIGHTS, TOPICS):
            said = _outdated(thing.id, now) if thing.kind == RIGHTS else "no address hears it"
        else:
            said = _instance(thing, now - grace) if thing.kind == "instances" else _belonging(thing, living, launches)
        if not said:
            return "", ""
        if thing.launch in young or (thing.made and now - thing.made < grace):
            return "new", said
        return "orphan" if thing.kind in BILLED or thing.state == "open" else "stray", said

    def finding(thing: Holding) -> Finding:
        owner = thing.owner or owners.get(thing.launch, "")
        spared = whose.others(owner) and (thing.kind == "instances" or thing.launch in launches)
        return Finding(region, thing, *verdict(thing), price(thing, region), owner, spared)

    return [finding(thing) for thing in things]


def _instance(thing: Holding, before: datetime) -> str:
    """Why nothing ends it; "" where something will."""
    if thing.deadline is None:
        return "it has no deadline"
    if thing.deadline < before:
        return f"its deadline was {thing.deadline:%Y-%m-%d %H:%M} UTC"
    return "it is stopped, and its disks are billed" if thing.state in ("stopping", "stopped") else ""


def _belonging(thing: Holding, living: set[str], launches: set[str]) -> str:
    """Why it belongs to nothing that lives; "" where it does."""
    if thing.kind in ("volumes", "network interfaces", "elastic IPs"):
        return "" if thing.instance or thing.state == "in-use" else "it is attached to nothing"
    if thing.instance:
        return "" if thing.instance in living else f"{thing.instance} is gone"
    return "" if thing.launch in launches else "no machine of that launch lives"


def _useless(things: Sequence[Holding], going: bool) -> dict[str, str]:
    """Machine images and snapshots from which no machine will start → why. `going`: some run is kept."""
    images = [thing for thing in things if thing.kind == "machine images"]
    found = {image.id: "AWS could not make it" for image in images if image.state in ("failed", "error", "invalid")}
    for image in images:
        line, driver = amis.table().get(image.tags.get(BAKED, "")), image.tags.get(DRIVER, "")
        if image.tags.get(TAG) and line and driver != line.driver and not going:
            found[image.id] = f"its driver is {driver or 'unknown'}, and machines get {line.driver}"
    if any(image.state == "pending" for image in images):  # it does not name its snapshots yet
        return found
    held = {disk["Ebs"].get("SnapshotId") for image in images
            for disk in image.row.get("BlockDeviceMappings") or () if "Ebs" in disk}  # fmt: skip
    alone = [thing for thing in things if thing.kind == "snapshots" and thing.id not in held]
    return {**found, **{thing.id: "no machine image has it" for thing in alone}}


def _outdated(policy: str, now: datetime) -> str:
    """Why a right to data is of no use any more; "" where it still holds."""
    match = _RIGHT.fullmatch(policy)
    if match is None or match["until"] is None:
        return "an older version left it, and it has no end"
    until = datetime.strptime(match["until"], "%Y-%m-%dT%H.%M.%SZ").replace(tzinfo=timezone.utc)
    return "" if now < until else f"it held until {until:%Y-%m-%d %H:%M} UTC"


def price(thing: Holding, region: str) -> float | None:
    """US dollars an hour: an instance and its address at most (0 when stopped), a disk by the list."""
    if thing.kind == "instances":
        most = TagRecord.from_tags(thing.tags).price
        return 0.0 if thing.state == "stopped" else None if most is None else most + prices.ADDRESS_HOURLY
    if thing.kind == "volumes":
        return prices.disk_hourly(thing.gb, region)
    if thing.kind == "elastic IPs":
        return prices.ADDRESS_HOURLY
    if thing.kind == IMAGES:
        return prices.s3_monthly(thing.row["bytes"], region) / (30 * 24)
    return cost.kept_monthly(thing, region) / (30 * 24)
