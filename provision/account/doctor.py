"""Is all there to rent a machine, and to work with it? Checks that change nothing, side by side, each with its mend.

A check is a function that gives findings, or raises the error that `up` would end with.
"""

import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Literal

from images.choose import choose
from images.ends import caution, ending
from images.stacks import stacks
from infra import buildx
from infra.aws import dryrun, quotas
from infra.aws.ec2 import Ec2
from infra.aws.iam import Iam
from infra.aws.identity import caller
from infra.aws.quotas import GPU_QUOTAS
from infra.aws.scheduler import Scheduler
from infra.aws.session import Cloud
from infra.aws.step_functions import Keeper
from infra.aws.types import SpotRequest
from infra.errors import AuthError, NotOfferedError, ProvisionError
from infra.shell import LocalShell, have
from provision.clouds import Session
from provision.engines import definition
from provision.offers import ami_lookup, amis, market, plan
from provision.offers.requirements import Requirements
from provision.runs import store

State = Literal["ok", "warn", "fail"]
_SKEW_S = 60.0
_SKEW_MOST_S = 300.0  # AWS refuses signatures that are older: https://docs.aws.amazon.com/IAM/latest/UserGuide/
_AT_ONCE = 16
_LIVING = "for what shall last take a row of a release that lives: provision image matrix"
_GRANT = "allow it: provision iam-policy prints the policy"


@dataclass(frozen=True)
class Finding:
    """What a check saw. `code` is the exit code that a failure stands for."""

    check: str
    state: State
    found: str
    mend: str = ""
    code: int = 0


Check = Callable[[], list[Finding]]


def examine(session: Session, kind: str = "") -> list[Finding]:
    """All findings, in a fixed order; with a `kind` of machine also whether that can be rented.

    Without credentials nothing that needs them is tried. An error of a check is a finding, and is not raised.
    """
    who = _guarded("credentials", partial(_credentials, session.cloud))
    if any(finding.state == "fail" for finding in who):
        return [*who, *_together(here())]
    return [*who, *_together({**there(session, kind), **here()})]


def exit_code(findings: list[Finding]) -> int:
    """0 where nothing failed; 3 where a permission is missing, else the highest of the failures' codes."""
    codes = {finding.code for finding in findings if finding.state == "fail"}
    return AuthError.exit_code if AuthError.exit_code in codes else max(codes, default=0)


def here() -> dict[str, Check]:
    """What this laptop needs."""
    return {"laptop": _programs, "Docker here": _docker, "images": releases}


def there(session: Session, kind: str) -> dict[str, Check]:
    """What the account and the region need."""
    cloud, settings = session.cloud, session.settings
    checks: dict[str, Check] = {"network": partial(_network, cloud)}
    for action in dryrun.ACTIONS:
        checks[f"ec2:{action}"] = partial(_action, cloud, action)
    checks |= {
        "roles": partial(_roles, cloud),
        "boundary": partial(_boundary, cloud),
        "schedules": partial(_schedules, cloud),
        "keepers": partial(_keepers, cloud),
    }
    checks |= {"bucket": partial(_bucket, cloud), "quotas": partial(_quotas, cloud)}
    for ami in {amis.choose(settings, family).name: amis.choose(settings, family) for family in amis.table()}.values():
        checks[f"machine image {ami.name}"] = partial(_image, cloud, ami)
    if kind:
        checks[kind] = partial(_type, session, kind)
    return checks


def _together(checks: dict[str, Check]) -> list[Finding]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda item: _guarded(*item), checks.items()))
    return [finding for findings in found for finding in findings]


def _guarded(name: str, check: Check) -> list[Finding]:
    """What it finds; an error is a finding, too."""
    try:
        return check()
    except ProvisionError as error:
        return [Finding(name, "fail", error.what, error.mend, error.exit_code)]


def _credentials(cloud: Cloud) -> list[Finding]:
    who = caller(cloud)
    found = [Finding("credentials", "ok", f"{who.arn} in {cloud.name} {cloud.region}")]
    return [*found, clock(who.clock, datetime.now(timezone.utc))] if who.clock else found


def releases() -> list[Finding]:
    """Releases past their end, or near it, that the best targets of stacks stand on."""
    best = [choose(name) for name in stacks()]
    found = []
    for release in ending({target.distribution.name: target.distribution for target in best}.values()):
        on_it = [target for target in best if target.distribution == release]
        names = ", ".join(target.stack.name for target in on_it)
        found.append(Finding("images", "warn", f"{caution(on_it[0].variant)} ({names})", _LIVING))
    return found or [Finding("images", "ok", "each stack has a target on a release that lives")]


def clock(theirs: datetime, ours: datetime) -> Finding:
    """AWS's clock against this laptop's: signatures, deadlines and schedules depend on it."""
    skew = (ours - theirs).total_seconds()
    words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS's"
    mend = "set this laptop's clock by the network: timedatectl set-ntp true"
    if abs(skew) <= _SKEW_S:
        return Finding("clock", "ok", words)
    if abs(skew) <= _SKEW_MOST_S:
        return Finding("clock", "warn", words, mend)
    return Finding("clock", "fail", words, mend, AuthError.exit_code)


def _network(cloud: Cloud) -> list[Finding]:
    zones = sorted(Ec2(cloud).subnets())
    if zones:
        return [Finding("network", "ok", f"default subnets in {', '.join(zones)}")]
    code = NotOfferedError.exit_code
    return [Finding("network", "fail", "no default subnets", "aws ec2 create-default-vpc", code)]


def _action(cloud: Cloud, action: str) -> list[Finding]:
    verdict, said = dryrun.ask(cloud, action)
    return [judged(f"ec2:{action}", verdict, said)]


def judged(name: str, verdict: str, said: str) -> Finding:
    """What a DryRun tells."""
    if verdict == dryrun.DENIED:
        return Finding(name, "fail", f"not allowed ({said})", _GRANT, AuthError.exit_code)
    if verdict == dryrun.UNTOLD:
        return Finding(name, "ok", f"not refused; there is nothing to try it on ({said})")
    return Finding(name, "ok", "allowed")


def _roles(cloud: Cloud) -> list[Finding]:
    return [Finding("roles", "ok", f"can be listed: {len(Iam(cloud).roles())} of ours; making them is not tried")]


def _boundary(cloud: Cloud) -> list[Finding]:
    """Whether the roles that are made have a permissions boundary, and whether that is there."""
    if not cloud.boundary:
        risk = "no permissions boundary: who has the rights of `provision iam-policy` can become administrator"
        return [Finding("boundary", "warn", risk, "provision iam-policy --boundary prints one")]
    try:
        Iam(cloud).boundary()
    except AuthError as error:
        return [Finding("boundary", "warn", f"{cloud.boundary}: {error.what}", _GRANT)]
    return [Finding("boundary", "ok", f"each role that is made is bounded by {cloud.boundary}")]


def _schedules(cloud: Cloud) -> list[Finding]:
    found = len(Scheduler(cloud).made())
    return [Finding("schedules", "ok", f"can be listed: {found} of ours; making them is not tried")]


def _keepers(cloud: Cloud) -> list[Finding]:
    found = Keeper(cloud).machines()
    there = (
        "that of this version is there" if definition.machine_name(cloud.region) in found else "none of this version"
    )
    return [Finding("keepers", "ok", f"can be listed: {len(found)} of ours, {there}; making them is not tried")]


def _bucket(cloud: Cloud) -> list[Finding]:
    bucket = store.store(cloud)
    words = "is there" if bucket.exists() else "is not there yet: the first launch makes it"
    return [Finding("bucket", "ok", f"{bucket.bucket} {words}")]


def _quotas(cloud: Cloud) -> list[Finding]:
    running = Ec2(cloud).running_vcpus()
    with ThreadPoolExecutor(len(GPU_QUOTAS)) as pool:
        limits = list(pool.map(lambda quota: quotas.value(cloud, quota.code), GPU_QUOTAS))
    return [
        room(quota, limit, quotas.used(running, quota), cloud.region)
        for quota, limit in zip(GPU_QUOTAS, limits, strict=True)
    ]


def room(quota: quotas.Quota, limit: int | None, used: int, region: str) -> Finding:
    """A quota of no vCPUs is no failure: another family may have some."""
    name = f"quota {quota.code}"
    if limit is None:
        return Finding(name, "warn", f"{quota.name}: AWS names no such quota here")
    words = f"{quota.name}: {used} of {limit} vCPUs used"
    if used < limit:
        return Finding(name, "ok", words)
    return Finding(name, "warn", words, f"ask for more: {quota.page(region)}")


def _image(cloud: Cloud, ami: amis.Ami) -> list[Finding]:
    image = ami_lookup.resolve(cloud, ami)
    driver = f"; driver {image.driver} is installed at the first boot" if image.driver else ""
    return [Finding(f"machine image {ami.name}", "ok", f"{image.id} for {', '.join(ami.families) or 'all'}{driver}")]


def _type(session: Session, kind: str) -> list[Finding]:
    requests = plan.plan(replace(session, say=lambda _: None), Requirements("doctor", kind))
    return [Finding(kind, "ok", _offers(request)) for request in requests]


def _offers(request: SpotRequest) -> str:
    prices = [(offer.zone, market.price_of(offer, request.market)) for offer in request.offers]
    words = [zone if price is None else f"{zone} ${price:.3f}/h" for zone, price in prices]
    return f"{request.region}, {request.market}: {', '.join(words)}"


def _programs() -> list[Finding]:
    found = [Finding("laptop", "ok", f"Python {platform.python_version()}")]
    for program, why, package in (
        ("ssh", "an interactive `provision ssh`", "openssh-client"),
        ("session-manager-plugin", "--via ssm", "AWS's Session Manager plugin"),
    ):
        there = have(program)
        said = "is there" if there else f"is not there; only {why} needs it"
        found.append(Finding(program, "ok" if there else "warn", said, "" if there else f"install {package}"))
    return found


def _docker() -> list[Finding]:
    shell = LocalShell()
    if not buildx.answers(shell):
        return [Finding("Docker here", "warn", "no engine answers; images cannot be built here", "make host")]
    if not buildx.has_buildx(shell):
        return [Finding("Docker here", "warn", "an engine answers, without buildx", "install docker-buildx")]
    return [Finding("Docker here", "ok", "an engine answers, with buildx")]
