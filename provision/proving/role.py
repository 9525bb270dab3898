"""The promise about the machine's role: what it may, and what not, by what AWS answers to its own keys.

The calls are made on the machine, as root, who alone gets the keys: they never leave it. A call that would do harm is
asked for as a dry run.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from infra.aws import regions
from infra.aws.iam import Iam
from infra.host import script
from provision.files import guard
from provision.hosts import image as images
from provision.machines import host_keys, login
from provision.proving.promise import BrokenError, Trial
from provision.runs.policy import policy
from provision.runs.store import ROOT, Run
from provision.training import request, start

RECIPE = "digits"
_EC2 = "2016-11-15"  # the version of EC2's API
_SETTLES_S = 90.0  # how long IAM may take to let the role do what it may


@dataclass(frozen=True)
class Call:
    """One call to AWS, as the probe on the machine makes it; `may`: whether the role has to be allowed it."""

    service: str
    method: str
    url: str
    may: bool
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def words(self, region: str) -> dict[str, Any]:
        """For the probe."""
        return {
            "service": self.service, "method": self.method, "url": self.url, "region": region, "body": self.body,
            "headers": dict(self.headers),
        }  # fmt: skip


def plan_of(kind: str, iterations: int = 0) -> request.TrainPlan:
    """A small training on that type; with `iterations` one that lasts for so many, and saves nothing before."""
    sets = {"iterations": str(iterations), "snapshot_every": str(iterations), "test_every": str(iterations)}
    wanted = request.TrainRequest(RECIPE, sets if iterations else {}, gpus=0, own_machine=bool(iterations))
    return request.resolve(wanted, request.Host(kind, 0))


def bring_image(kind: str) -> None:
    """Build the image of the training here, where it is not there yet: not while a machine waits for it, and is paid.
    The errors of building."""
    images.obtain(plan_of(kind).stack)


def limits(trial: Trial) -> str:
    """It may write its run's state, and neither what laptops act upon, nor another run's, nor anything in EC2."""
    there = trial.there()
    plan = plan_of(trial.kind)
    manifest = start.manifest_of(trial.session, plan, images.obtain(plan.stack), there.type, there.market, there.record)
    run = start.written(trial.session, manifest)
    trial.runs.append(run)
    Iam(trial.cloud).allow(there.launch, run.id, policy(run, kept=True))
    other = f"{ROOT}{run.id}-other/log/probe"
    run.store.write(other, b"of another run")
    try:
        asked = calls(run, there.id, other)
        answers = _answers(trial, asked)
    finally:
        run.store.delete([other])
    wrong = [f"{name} was {'allowed' if answers[name] < 400 else f'answered with {answers[name]}'}"
             for name, call in asked.items() if not call.may and answers[name] != 403]  # fmt: skip
    if wrong:
        raise BrokenError("; ".join(wrong))
    denied = sum(not call.may for call in asked.values())
    return f"its own state.json is written, {denied} other calls are denied"


def calls(run: Run, instance_id: str, other: str) -> dict[str, Call]:
    """What is asked for, by name. `other` is the key of another run's object."""
    store, cloud = run.store, run.store.cloud
    usual = f"https://{store.bucket}.s3.{cloud.region}.{regions.suffix(cloud.region)}"
    endpoint = regions.s3_endpoint(cloud, store.bucket)
    base = f"{endpoint}/{store.bucket}" if endpoint else usual

    def put(key: str, may: bool = False) -> Call:
        return Call("s3", "PUT", f"{base}/{key}", may, '{"state": "starting"}')

    def ec2(action: str, **words: str) -> Call:
        body = urlencode({"Action": action, "Version": _EC2, "DryRun": "true", **words})
        form = {"content-type": "application/x-www-form-urlencoded"}
        return Call("ec2", "POST", regions.endpoint(cloud, "ec2").rstrip("/") + "/", False, body, form)

    laptops = ("manifest.json", "attempts/001.json", "capsule.json", "ends/001.json", f"control/{instance_id}")
    return {
        "writing its own state.json": put(run.key("state.json"), may=True),
        "reading its manifest.json": Call("s3", "GET", f"{base}/{run.key('manifest.json')}", True),
        **{f"writing its {name}": put(run.key(name)) for name in laptops},
        "writing to another run": put(other),
        "posing as another machine": put(f"{host_keys.folder('provision-another-01234567')}{instance_id}"),
        "reading another run": Call("s3", "GET", f"{base}/{other}", False),
        "deleting of another run": Call("s3", "DELETE", f"{base}/{other}", False),
        "terminating a machine": ec2("TerminateInstances", **{"InstanceId.1": instance_id}),
        "reading a machine's user data": ec2("DescribeInstanceAttribute", InstanceId=instance_id, Attribute="userData"),
        "listing machines": ec2("DescribeInstances"),
    }


def _answers(trial: Trial, asked: Mapping[str, Call]) -> dict[str, int]:
    """HTTP's status of each, once the role may do what it may: IAM takes its time. BrokenError where it never may."""
    words = json.dumps({name: call.words(trial.cloud.region) for name, call in asked.items()})
    with login.shell(trial.cloud, trial.there()) as host:
        guard.install(host)
        program = script("role_probe.py").encode()

        def ask() -> dict[str, int]:
            said = host.run(["sudo", "python3", "-", words], stdin=program, timeout=300, check=False)
            return statuses(said.out, asked) if said.ok else {}

        def settled() -> dict[str, int] | None:
            found = ask()
            may = [found.get(name, 0) for name, call in asked.items() if call.may]
            return found if found and all(found.values()) and all(0 < status < 400 for status in may) else None

        found: dict[str, int] = trial.until(settled, _SETTLES_S, "the role could not do what it may")
    return found


def statuses(text: str, asked: Collection[str]) -> dict[str, int]:
    """HTTP's status of each call out of the probe's answer; nothing where that is not an answer to all of them."""
    try:
        found = {str(name): int(row[0]) for name, row in json.loads(text).items()}
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):  # a machine may say anything
        return {}
    return found if found.keys() == set(asked) else {}
