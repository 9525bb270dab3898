"""The promises about one rented machine: launched, entered, shut, bounded, ended."""

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from infra.aws import prices, witness
from infra.aws.ec2 import Ec2
from infra.aws.scheduler import SOONEST, Scheduler
from infra.aws.session import own_address
from infra.aws.tags import LAUNCH, NAME
from infra.aws.types import Instance
from infra.errors import HostKeyError
from infra.host import script
from infra.keys import new_pair, pin
from infra.ssh import SshShell
from provision.account import doctor
from provision.machines import down as ending
from provision.machines import login, rent
from provision.offers.budget import GRACE
from provision.proving.promise import HOURS, BrokenError, Trial, wish

_SLACK = timedelta(seconds=90)


def permissions(trial: Trial) -> str:
    """No check of `doctor` fails."""
    found = doctor.examine(trial.session, trial.kind)
    failed = [one for one in found if one.state == "fail"]
    if failed:
        raise BrokenError("; ".join(f"{one.check}: {one.found}" for one in failed))
    return f"{len(found)} checks, none failed"


def launched(trial: Trial) -> str:
    """Rent it; AWS says that it is on spot, that all of it is tagged, and that its disk is encrypted."""
    name = trial.request.name
    trial.names.append(name)
    _, trial.machine = rent.rent(trial.session, wish(name, trial.kind))
    seen = witness.machine(trial.cloud, trial.machine.id)
    disks = witness.disks(trial.cloud, seen.id)
    wrong = [] if seen.market == "spot" else [f"it is {seen.market}"]
    wrong += [f"its tag {key} is missing" for key in (NAME, LAUNCH) if not seen.tags.get(key)]
    wrong += [f"{disk.id} is not encrypted" for disk in disks if not disk.encrypted]
    wrong += [f"{disk.id} has no tag of ours" for disk in disks if disk.tags.get(NAME) != name]
    if wrong or not disks:
        raise BrokenError(f"{seen.id}: {', '.join(wrong) or 'it has no disk'}")
    return f"{seen.id} in {trial.machine.zone}, on spot; {len(disks)} disk, encrypted; tagged"


def way_in(trial: Trial) -> str:
    """Our key opens it under the host key that it told; under another host key nothing is sent."""
    there = trial.there()
    at = login.address(trial.cloud, there)
    with SshShell(at, there.name) as host:
        host.run(["true"])
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "known_hosts"
        pin(other, at.alias, new_pair("another").public)
        try:
            with SshShell(replace(at, known_hosts=other), there.name) as host:
                host.run(["true"])
        except HostKeyError:
            return "the pinned host key is taken, another one is refused"
    raise BrokenError("a host with another key than the one in known_hosts was logged in to")


def port(trial: Trial) -> str:
    """Its security groups let in port 22, from this laptop's own address, and nothing else from anywhere."""
    seen = witness.machine(trial.cloud, trial.there().id)
    rules = witness.rules(trial.cloud, seen)
    mine = witness.Rule("tcp", 22, 22, f"{own_address(trial.cloud)}/32")
    others = [rule for rule in rules if rule != mine]
    if others:
        raise BrokenError("it lets in " + ", ".join(_rule(rule) for rule in others))
    if mine not in rules:
        raise BrokenError("no rule lets this laptop in")
    return f"port 22 from {mine.source}, and nothing else"


def _rule(rule: witness.Rule) -> str:
    ports = "all ports" if rule.first is None else f"ports {rule.first}-{rule.last}"
    return f"{rule.protocol} {ports} from {rule.source}"


def metadata(trial: Trial) -> str:
    """AWS says tokens and one hop; and on the machine only the host gets a token, no container does."""
    there = trial.there()
    seen = witness.machine(trial.cloud, there.id)
    if (seen.tokens, seen.hops) != ("required", 1):
        raise BrokenError(f"the metadata service has tokens {seen.tokens or 'unknown'}, hop limit {seen.hops}")
    with login.shell(trial.cloud, there) as host:
        said = host.run(["sudo", "sh", "-s"], stdin=script("prove_imds.sh").encode(), timeout=120).out
    got = dict(line.split("=", 1) for line in said.split() if "=" in line)
    if got.get("host") != "200" or got.get("shared") != "200":
        raise BrokenError(
            f"the host itself gets no token, so that nothing is shown by a container's getting none: {got}"
        )
    if got.get("container") != "000":
        raise BrokenError(f"a container on the machine got an answer of the metadata service: {got.get('container')}")
    if got.get("old") == "200":
        raise BrokenError("the metadata service answers without a token")
    return "tokens required, one hop: the host gets a token, a container gets no answer"


def budgeted(trial: Trial) -> str:
    """Its deadline is sooner than its hours, and until its last end it can cost no more than its budget."""
    there = _now(trial)
    record, end = there.record, there.deadline
    if end is None or record.budget is None or record.price is None:
        raise BrokenError(f"its tags tell no deadline, budget or price: {dict(there.tags)}")
    if end - there.launched > timedelta(hours=HOURS) - timedelta(minutes=1):
        raise BrokenError(f"its deadline {end:%H:%M:%S} UTC is that of its hours: the budget has not shortened it")
    hourly = record.price + prices.disk_hourly(record.gigabytes, trial.cloud.region) + prices.ADDRESS_HOURLY
    most = hourly * ((end + GRACE - there.launched) / timedelta(hours=1))
    if most > record.budget + 0.001:
        raise BrokenError(f"it may cost ${most:.3f} until its last end, and its budget is ${record.budget:g}")
    hours = (end - there.launched) / timedelta(hours=1)
    return f"${record.budget:g} ends it after {hours:.1f} h in place of {HOURS:g} h, and it costs ${most:.3f} at most"


def _now(trial: Trial) -> Instance:
    """The machine as its tags tell it now."""
    there = Ec2(trial.cloud).by_id(trial.there().id)
    if there is None or not there.alive:
        raise BrokenError(f"{trial.there().id} is gone")
    return there


def deadlines(trial: Trial) -> str:
    """Its own timer stands at the time of its tags, and AWS's schedule at that and the time of grace."""
    there = _now(trial)
    end = there.deadline
    with login.shell(trial.cloud, there) as host:
        said = host.run(["sudo", "sh", "-s"], stdin=script("prove_ends.sh").encode(), timeout=60).out
    timers = moments(said)
    if end is None or timers != [end]:
        told = ", ".join(f"{at:%H:%M:%S}" for at in timers) or "none"
        raise BrokenError(f"its tag says {end:%H:%M:%S} UTC, its own timers: {told}" if end else "it has no deadline")
    planned = witness.schedule(trial.cloud, there.launch)
    if planned is None or not planned.on or there.id not in planned.instances:
        raise BrokenError(f"no schedule of AWS's ends {there.id}")
    if planned.at is None or abs(planned.at - (end + GRACE)) > _SLACK:
        raise BrokenError(f"the schedule is for {planned.at}, and not for {end + GRACE}")
    return f"its timer at {end:%H:%M:%S} UTC, the schedule at {planned.at:%H:%M:%S}"


def moments(text: str) -> list[datetime]:
    """Seconds since 1970 as moments; what is none is left out."""
    words = [word for word in text.split() if word.isascii() and word.isdecimal() and len(word) < 11]
    return [datetime.fromtimestamp(int(word), timezone.utc) for word in words]


def struck(trial: Trial) -> str:
    """With its own timers off, AWS's schedule alone ends it."""
    there = _now(trial)
    with login.shell(trial.cloud, there) as host:
        host.run(["sudo", "sh", "-s"], stdin=script("prove_stuck.sh").encode(), timeout=60)
    at = datetime.now(timezone.utc) + SOONEST
    Scheduler(trial.cloud).arm(there.launch, there.id, at)
    late = SOONEST + timedelta(minutes=5)

    def gone() -> witness.Seen | None:
        seen = witness.machine(trial.cloud, there.id)
        return seen if seen.state in ("shutting-down", "terminated") else None

    seen = trial.until(gone, late.total_seconds(), f"the schedule did not end {there.id}")
    if seen.reason != "Client.UserInitiatedShutdown":
        raise BrokenError(f"it was ended by something else than a call of AWS's: {seen.reason}")
    after = (datetime.now(timezone.utc) - at).total_seconds()
    return f"it was ended {max(0.0, after):.0f} s after the schedule's moment"


def ended(trial: Trial) -> str:
    """`down` ends it, and by AWS's own word nothing of it is left."""
    there, trial.machine = trial.there(), None
    done = ending.down(trial.cloud, there.name, trial.session.say)
    left = [f"{kind}: {', '.join(ids)}" for kind, ids in ending.everything(trial.cloud, there.name).items() if ids]
    state = witness.machine(trial.cloud, there.id).state
    if state != "terminated":
        left.append(f"{there.id} is {state}")
    if witness.schedule(trial.cloud, there.launch) is not None:
        left.append("its schedule")
    if left:
        raise BrokenError("left after `down`: " + "; ".join(left))
    return "; ".join(done.words()) if done.cost else f"{there.id} is terminated, and nothing of it is left"
