"""EventBridge Scheduler's one-time schedules, carried out. moto keeps their record and does nothing at their time.

A schedule may terminate instances (the universal target ec2:TerminateInstances) by the right of its role, and by no
other: without the right nothing happens. Afterwards it goes, if it says so. A moment that has passed when it is set
never comes: AWS promises nothing for it, and who relies on it shall see. All other targets and expressions are records
only. AWS may be up to a minute late; we are half a second. The page `_local/schedules` {ahead: seconds} sets our clock.
"""

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from moto.core.exceptions import JsonRESTError
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.scheduler.exceptions import ScheduleExists, ValidationException
from moto.scheduler.models import EventBridgeSchedulerBackend, scheduler_backends
from moto.scheduler.responses import EventBridgeSchedulerResponse

from localcloud import access, resources

EVERY = 0.5  # seconds between two looks
SERVICE = "scheduler.amazonaws.com"
TERMINATE = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
NO_ROLE = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
log = logging.getLogger("localcloud")
_ahead = timedelta()  # what our clock is ahead of the time


def set_clock(ahead: float) -> None:
    """Let schedules come `ahead` seconds before their time."""
    global _ahead
    _ahead = timedelta(seconds=ahead)


def _now() -> datetime:
    return datetime.now(timezone.utc) + _ahead


def install() -> None:
    """Put our methods in the place of those of moto's classes, and begin to look at the clock."""
    moto_create, moto_update = EventBridgeSchedulerBackend.create_schedule, EventBridgeSchedulerBackend.update_schedule
    moto_group = EventBridgeSchedulerBackend.create_schedule_group
    moto_delete = EventBridgeSchedulerBackend.delete_schedule_group
    moto_answer = EventBridgeSchedulerResponse.update_schedule

    def create(self: Any, **asked: Any) -> Any:
        self.get_schedule_group(asked["group_name"])
        _check_role(self.account_id, asked["target"])
        return _pending(moto_create(self, **asked))

    def update(self: Any, **asked: Any) -> Any:
        _check_role(self.account_id, asked["target"])
        return _pending(moto_update(self, **{**asked, "state": asked["state"] or "ENABLED"}))

    def answer_update(self: Any) -> Any:
        """moto forgets that an update may say what becomes of the schedule; AWS takes NONE where it says nothing."""
        said = moto_answer(self)
        name = self.uri.split("?")[0].split("/")[-1]
        schedule = self.scheduler_backend.get_schedule(self._get_param("GroupName"), name)
        schedule.action_after_completion = self._get_param("ActionAfterCompletion", "NONE")
        return said

    def create_group(self: Any, name: str, tags: Any) -> Any:
        if name in self.schedule_groups:
            raise Conflict(f"Schedule group {name} already exists.")
        return moto_group(self, name, tags or [])

    def delete_group(self: Any, name: str | None) -> None:
        self.get_schedule_group(name)
        moto_delete(self, name)

    ScheduleExists.code = 409
    EventBridgeSchedulerBackend.create_schedule = create
    EventBridgeSchedulerBackend.update_schedule = update
    EventBridgeSchedulerBackend.create_schedule_group = create_group
    EventBridgeSchedulerBackend.delete_schedule_group = delete_group
    EventBridgeSchedulerResponse.update_schedule = answer_update
    threading.Thread(target=_watch, daemon=True, name="schedules").start()


class Conflict(JsonRESTError):  # type: ignore[misc]
    code = 409

    def __init__(self, text: str) -> None:
        super().__init__("ConflictException", text)


def _pending(schedule: Any) -> Any:
    at = _moment(schedule)
    schedule.done = at is not None and at <= _now()
    return schedule


def _check_role(account: str, target: dict[str, Any]) -> None:
    role = _role(account, target.get("RoleArn", ""))
    if role is None or not access.trusts(role, SERVICE):
        raise ValidationException(NO_ROLE)


def _role(account: str, arn: str) -> Any:
    return next((role for role in iam_backends[account]["aws"].roles.values() if role.arn == arn), None)


def _watch() -> None:
    while True:
        time.sleep(EVERY)
        for group, schedule in list(_due(_now())):
            try:
                schedule.done = True
                _fire(schedule)
            except Exception:
                log.exception("the schedule %s failed", schedule.arn)
            if schedule.action_after_completion == "DELETE":
                group.schedules.pop(schedule.name, None)


def _due(now: datetime) -> Iterator[tuple[Any, Any]]:
    for regions in list(scheduler_backends.values()):
        for backend in list(regions.values()):
            for group in list(backend.schedule_groups.values()):
                for schedule in list(group.schedules.values()):
                    at = _moment(schedule)
                    if at is not None and at <= now and schedule.state == "ENABLED" and not schedule.done:
                        yield group, schedule


def _moment(schedule: Any) -> datetime | None:
    """When a one-time schedule is due; None for others."""
    found = re.fullmatch(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", schedule.schedule_expression)
    if not found:
        return None
    return datetime.fromisoformat(found[1]).replace(tzinfo=ZoneInfo(schedule.schedule_expression_timezone))


def _fire(schedule: Any) -> None:
    """Do what the schedule is for, as far as its role may."""
    target = schedule.target
    if target["Arn"].lower() != TERMINATE.lower():
        log.warning("%s: the local cloud cannot do %s", schedule.name, target["Arn"])
        return
    _, _, _, region, account, _ = schedule.arn.split(":", 5)
    role = _role(account, target["RoleArn"])
    ids = json.loads(target["Input"])["InstanceIds"]
    asked = [resources.instance(account, region, instance_id) for instance_id in ids]
    if role is None or not all(access.role_may(role, "ec2:TerminateInstances", *resource) for resource in asked):
        log.warning("%s: its role may not terminate %s", schedule.name, ", ".join(ids))
        return
    log.info("%s terminates %s", schedule.name, ", ".join(ids))
    ec2_backends[account][region].terminate_instances(ids)
