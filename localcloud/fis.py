"""Fault Injection Service's spot notices, carried out: moto keeps experiments' record and does nothing.

An experiment gives its machines the notice of the spot service by the right of its role, and by no other: without it
the experiment has failed. All other actions are records only.
"""

import re
from typing import Any

from moto.fis.models import FISBackend
from moto.iam.models import iam_backends

from localcloud import access, resources
from localcloud.machines import Machines

SERVICE = "fis.amazonaws.com"
SPOT = "aws:ec2:send-spot-instance-interruptions"
RIGHT = "ec2:SendSpotInstanceInterruptions"
NO_ROLE = "Unable to assume role for the experiment."


def install(machines: Machines) -> None:
    """Put our methods in the place of those of moto's class."""
    moto_start, moto_get = FISBackend.start_experiment, FISBackend.get_experiment

    def start(self: Any, *words: Any, **more: Any) -> Any:
        answer = moto_start(self, *words, **more)
        experiment = self.experiments[answer["id"]]
        experiment.refused = next(
            filter(None, [_done(self, machines, experiment, one) for one in _actions(experiment)]), ""
        )
        return self.get_experiment(answer["id"])

    def get(self: Any, id: str) -> Any:
        found = moto_get(self, id)
        refused = getattr(self.experiments[id], "refused", "")
        return {**found, "state": {"status": "failed", "reason": refused}} if refused else found

    FISBackend.start_experiment = start
    FISBackend.get_experiment = get


def _actions(experiment: Any) -> list[dict[str, Any]]:
    return [action for action in experiment.actions.values() if action.get("actionId") == SPOT]


def _done(backend: Any, machines: Machines, experiment: Any, action: dict[str, Any]) -> str:
    """Give the notice to the machines of one action; why not, or ""."""
    role = next(
        (one for one in iam_backends[backend.account_id]["aws"].roles.values() if one.arn == experiment.role_arn), None
    )
    if role is None or not access.trusts(role, SERVICE):
        return NO_ROLE
    target = experiment.targets[action["targets"]["SpotInstances"]]
    ids = [arn.rpartition("/")[2] for arn in target.get("resourceArns", ())]
    for instance_id in ids:
        machine = machines.by_id.get(instance_id)
        if machine is None or machine.state != "running" or machine.instance.lifecycle != "spot":
            return f"Target resolution returned empty set: {instance_id}"
        what = resources.instance(backend.account_id, backend.region_name, instance_id)
        if not access.role_may(role, RIGHT, *what):
            return f"{experiment.role_arn} is not authorized to perform: {RIGHT}"
    for instance_id in ids:
        machines.interrupt(instance_id, _seconds(action), "no-capacity")
    return ""


def _seconds(action: dict[str, Any]) -> float:
    """From the notice to the end: AWS gives it two minutes before, however long the experiment waits."""
    found = re.fullmatch(r"PT(\d+)M", action.get("parameters", {}).get("durationBeforeInterruption", ""))
    return min(120.0, 60.0 * int(found[1])) if found else 120.0
