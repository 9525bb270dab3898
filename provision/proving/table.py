"""The promises, in the order in which they are tried: first what costs nothing, then one machine, then a kept run."""

from datetime import timedelta

from infra.aws.fault_injection import DOLLARS
from provision.account import audit
from provision.machines.cost import dollars
from provision.proving import kept, machine, role
from provision.proving.promise import BrokenError, Promise, Trial


def audited(trial: Trial) -> str:
    """`audit` finds nothing of what was begun here."""
    report = audit.audit(trial.cloud, [trial.cloud.region], timedelta(0))
    if report.errors:
        raise report.errors[0][1]
    runs = {run.id for run in trial.runs}
    ours = [one.thing for one in report.findings if one.thing.name in trial.names or one.thing.id in runs]
    if ours:
        raise BrokenError("there is still " + ", ".join(f"{thing.kind} {thing.label}" for thing in ours))
    return f"nothing of {', '.join(trial.names) or 'it'} is left in {trial.cloud.region}"


def costed(trial: Trial) -> str:
    """`cost` tells what all of it has cost, and that is less than the budget."""
    spent = trial.spent()
    if spent > trial.dollars:
        raise BrokenError(f"it has cost {dollars(spent)} at most, and the budget was {dollars(trial.dollars)}")
    notice = f", with up to {dollars(trial.other)} for the spot notice" if trial.other else ""
    return f"{dollars(spent)} at most{notice}, of {dollars(trial.dollars)}"


PROMISES: tuple[Promise, ...] = (
    Promise(
        "permissions", "what provision needs is allowed", "what `doctor` asks, by dry runs", machine.permissions,
        only="IAM's own verdict on each permission, with its conditions on tags",
    ),
    Promise(
        "launch", "one spot machine, tagged, its disk encrypted", "rent it, and ask EC2 what it gave", machine.launched,
        6, only="capacity, price and boot of a real machine; tags at creation",
    ),
    Promise(
        "way in", "our key and the pinned host key lead in, another host key does not",
        "log in twice, once with another key in known_hosts", machine.way_in, 1,
        only="cloud-init of the real machine image makes a host key, and the machine's role tells it",
    ),
    Promise(
        "port", "port 22 is open to this laptop's address alone", "read all rules of its security groups", machine.port,
        0.5, only="EC2's security groups, and this laptop's real address",
    ),
    Promise(
        "metadata", "containers get no token of the metadata service",
        "EC2's options; then ask from the host and from a container", machine.metadata, 2,
        only="the real metadata service's hop limit",
    ),
    Promise(
        "budget", "a budget shortens the machine's life", "tags, prices and hours, reckoned again", machine.budgeted,
        0.5, only="the price list that AWS gives here",
    ),
    Promise(
        "deadlines", "two ends stand: the machine's own and AWS's", "systemd's timer and EventBridge's schedule",
        machine.deadlines, 0.5, only="EventBridge's own record of the schedule",
    ),
    Promise(
        "role", "the machine's role reaches its own run's part, and nothing else",
        "calls with its keys, as root on the machine", role.limits, 4,
        only="S3's and EC2's own verdict on the role's policy",
    ),
    Promise(
        "the last end", "AWS's schedule alone ends a machine whose timers are off",
        "turn them off, move the schedule close, and wait", machine.struck, 8, slow=True,
        only="that EventBridge strikes, and may",
    ),
    Promise(
        "down", "`down` ends a machine and all that belongs to it", "call it, and ask each service", machine.ended, 4,
        only="how AWS's services let go of each other",
    ),
    Promise(
        "keeper", "a run begins without this laptop", f"train {role.RECIPE} --detach, and only look on", kept.begins,
        25, only="Step Functions runs the keeper; its role's rights suffice; a machine that starts itself",
    ),
    Promise(
        "notice", "at a spot notice the work is saved", "AWS's Fault Injection Service gives one", kept.saves, 12,
        DOLLARS, only="a real notice, and whether two minutes are enough here",
    ),
    Promise(
        "again", "another machine goes on from what was saved, by the keeper", "wait for the next attempt's log",
        kept.resumes, 25, only="the second launch with the keeper's own rights",
    ),
    Promise(
        "stop", "`stop` saves, ends the keeper and its machine, and leaves nothing", "call it, and ask each service",
        kept.stops, 5, only="a running execution is stopped",
    ),
    Promise("audit", "`audit` finds nothing left", "ask it about what was begun here", audited),
    Promise("cost", "all of it has cost less than the budget", "ask `cost`", costed, only="the real spot prices"),
)  # fmt: skip


def most(trial: Trial, quick: bool) -> float:
    """What trying all of them may cost at most, where each takes as long as it may (US dollars)."""
    return sum(one.costs(trial.hourly) for one in PROMISES if not (quick and one.slow))
