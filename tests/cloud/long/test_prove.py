"""`prove` against the local cloud: all of it holds there, and in worlds that are broken on purpose it does not.

A check that cannot fail is none. So each world is broken by the cloud's own API or on the machine itself, behind the
product's back, and mended again.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from provision import clouds
from provision.proving import kept, machine, role
from provision.proving.promise import BrokenError, Trial, trial_of
from provision.proving.table import PROMISES, audited
from provision.proving.trying import end_all
from tests.cloud.support import Emulator, Laptop, inside, interrupt, until

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]

EVIL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}]}
# what a careless proxy on the host does: it passes the metadata service on to containers
PROXY = """import socket, threading
def pump(a, b):
    while True:
        data = a.recv(65536)
        if not data:
            break
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
listener = socket.create_server(("0.0.0.0", 8099))
while True:
    one, _ = listener.accept()
    other = socket.create_connection(("169.254.169.254", 80))
    for pair in ((one, other), (other, one)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""
TO_PROXY = "PREROUTING -i docker0 -d 169.254.169.254 -p tcp --dport 80 -j REDIRECT --to-ports 8099"


def test_all_of_it_holds_and_nothing_is_left(laptop: Laptop) -> None:
    before = laptop.ok("runs")  # the cloud is that of other tests, too
    done = laptop.run("prove", "--yes", "--json", "--budget", "2", timeout=1800)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    assert [one["promise"] for one in report["promises"]] == [one.name for one in PROMISES]
    assert {one["word"] for one in report["promises"]} == {"holds"}, report
    assert report["broken"] == [] and report["left"] == []
    assert 0 < report["dollars"] < 2
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
    assert [one["RoleName"] for one in roles(laptop.emulator) if "notice" in one["RoleName"]] == []
    assert laptop.emulator.client("fis").list_experiment_templates()["experimentTemplates"] == []
    assert len(laptop.emulator.client("fis").list_experiments()["experiments"]) == 1
    assert laptop.ok("runs") == before


def roles(emulator: Emulator) -> list[dict[str, Any]]:
    return list(emulator.client("iam").list_roles()["Roles"])


@pytest.mark.parametrize("at", ["^way in: holds", "^keeper: holds"], ids=["a machine", "a keeper"])
def test_ctrl_c_ends_all_of_it(laptop: Laptop, at: str) -> None:
    process = laptop.start("prove", "--yes", "--quick")
    until(process, at, 900)
    interrupt(process)
    rest = process.stdout.read() if process.stdout else ""
    assert process.wait(300) == 128 + signal.SIGINT
    assert "NOT ENDED" not in rest and "Traceback" not in rest
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
    assert [one["RoleName"] for one in roles(laptop.emulator) if "notice" in one["RoleName"]] == []


def test_a_budget_that_pays_for_little_is_kept_to(laptop: Laptop) -> None:
    done = laptop.run("prove", "--yes", "--json", "--budget", "0.051", timeout=900)
    report = json.loads(done.stdout)
    said = {one["promise"]: one["word"] for one in report["promises"]}
    assert (said["launch"], said["keeper"], said["notice"], said["cost"]) == ("holds", "left out", "left out", "holds")
    assert report["dollars"] < 0.051
    assert done.returncode == 0
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


@pytest.fixture
def trial(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """A trial in this process, as the laptop's user would begin it; all of it is ended."""
    for name, value in laptop._environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(laptop.folder)
    one = trial_of(clouds.session(), "c5.large", 2.0)
    try:
        yield one
    finally:
        assert end_all(one) == []


def broken(promise: Callable[[Trial], str], trial: Trial, words: str) -> None:
    with pytest.raises(BrokenError) as error:
        promise(trial)
    assert words in error.value.what, error.value.what


@contextmanager
def other_tags(emulator: Emulator, instance: str, **tags: str) -> Iterator[None]:
    """Until the block ends the machine has other tags."""
    ec2 = emulator.client("ec2")
    before = {one["Key"]: one["Value"] for one in emulator.instances()[0]["Tags"]}
    names = [f"provision:{name}" for name in tags]
    ec2.create_tags(Resources=[instance], Tags=[{"Key": f"provision:{n}", "Value": v} for n, v in tags.items()])
    yield
    ec2.create_tags(Resources=[instance], Tags=[{"Key": name, "Value": before[name]} for name in names])


def test_broken_worlds_around_a_machine_are_noticed(trial: Trial, laptop: Laptop) -> None:
    emulator = laptop.emulator
    machine.launched(trial)
    there = trial.there()
    for check in (machine.way_in, machine.port, machine.metadata, machine.budgeted, machine.deadlines):
        assert check(trial)
    _open_ports(trial, emulator)
    _metadata(trial, emulator, there.id)
    _ends(trial, emulator, there.id)
    assert "denied" in role.limits(trial)
    _role(trial, emulator)
    assert there.deadline is not None
    later = (there.deadline + timedelta(hours=9)).isoformat()
    with other_tags(emulator, there.id, deadline=later):
        broken(machine.budgeted, trial, "the budget has not shortened it")
    with other_tags(emulator, there.id, budget="0.01"):
        broken(machine.budgeted, trial, "and its budget is $0.01")
    broken(audited, trial, there.id)


def _open_ports(trial: Trial, emulator: Emulator) -> None:
    ec2 = emulator.client("ec2")
    group = emulator.instances()[0]["NetworkInterfaces"][0]["Groups"][0]["GroupId"]
    world = {"IpProtocol": "tcp", "FromPort": 8888, "ToPort": 8888, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[world])
    broken(machine.port, trial, "tcp ports 8888-8888 from 0.0.0.0/0")
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[world])
    assert machine.port(trial)


def _metadata(trial: Trial, emulator: Emulator, instance: str) -> None:
    ec2 = emulator.client("ec2")
    ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="optional")
    broken(machine.metadata, trial, "tokens optional")
    ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required")
    [container] = emulator.containers()
    inside(container, f"cat > /root/proxy.py <<'END'\n{PROXY}END\nsystemd-run --unit proxy python3 /root/proxy.py")
    inside(container, f"iptables -t nat -I {TO_PROXY}")
    broken(machine.metadata, trial, "a container on the machine got an answer")
    inside(container, f"iptables -t nat -D {TO_PROXY}; systemctl stop proxy")
    assert machine.metadata(trial)


def _ends(trial: Trial, emulator: Emulator, instance: str) -> None:
    scheduler = emulator.client("scheduler")
    launch = trial.there().launch
    words = scheduler.get_schedule(GroupName="provision", Name=launch)
    kept_words = (
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "FlexibleTimeWindow",
        "Target",
        "ActionAfterCompletion",
    )
    same = {"GroupName": "provision", "Name": launch, **{key: words[key] for key in kept_words}}
    scheduler.update_schedule(**{**same, "ScheduleExpression": "at(2099-01-01T00:00:00)"})
    broken(machine.deadlines, trial, "the schedule is for 2099")
    scheduler.delete_schedule(GroupName="provision", Name=launch)
    broken(machine.deadlines, trial, f"no schedule of AWS's ends {instance}")
    scheduler.create_schedule(**same)
    assert machine.deadlines(trial)
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=50)
    with other_tags(emulator, instance, deadline=soon.isoformat()):
        broken(machine.deadlines, trial, "its own timers")


def _role(trial: Trial, emulator: Emulator) -> None:
    iam = emulator.client("iam")
    launch = trial.there().launch
    iam.put_role_policy(RoleName=launch, PolicyName="evil", PolicyDocument=json.dumps(EVIL))
    with pytest.raises(BrokenError) as error:
        role.limits(trial)
    for key in ("manifest.json", "attempts/001.json", "control/"):
        assert f"writing its {key}" in error.value.what
    assert "writing to another run was allowed" in error.value.what
    ends = json.dumps(EVIL).replace("s3:PutObject", "ec2:TerminateInstances")
    iam.put_role_policy(RoleName=launch, PolicyName="evil", PolicyDocument=ends)
    broken(role.limits, trial, "terminating a machine")
    iam.delete_role_policy(RoleName=launch, PolicyName="evil")
    assert role.limits(trial)


def test_a_schedule_that_may_not_end_machines_is_noticed(trial: Trial, laptop: Laptop) -> None:
    """The role of the schedules has lost its right: nothing happens at the schedule's moment."""
    machine.launched(trial)
    iam = laptop.emulator.client("iam")
    right = {"RoleName": "provision-scheduler", "PolicyName": "terminate"}
    document = json.dumps(iam.get_role_policy(**right)["PolicyDocument"])
    iam.delete_role_policy(**right)
    trial.patience = 0.4  # 156 s, and the schedule comes after 90
    try:
        broken(machine.struck, trial, "the schedule did not end")
    finally:
        iam.put_role_policy(**right, PolicyDocument=document)
    assert machine.ended(trial)


def test_a_keeper_that_is_gone_is_noticed(trial: Trial, laptop: Laptop) -> None:
    """It is stopped by somebody else, after the work was saved at the notice."""
    assert "no port is open" in kept.begins(trial)
    assert "no snapshot was due" in kept.saves(trial)
    assert trial.keeping is not None
    laptop.emulator.client("stepfunctions").stop_execution(executionArn=trial.keeping.execution, cause="somebody else")
    broken(kept.resumes, trial, "nobody keeps")
    broken(kept.stops, trial, "the run is interrupted")


def test_the_files_of_a_trial_are_in_no_folder_of_the_users(laptop: Laptop, tmp_path: Path) -> None:
    before = sorted(laptop.folder.iterdir())
    laptop.ok("prove", "--dry-run")
    plan = json.loads(laptop.ok("prove", "--dry-run", "--json", "--quick"))
    assert "the last end" not in [one["promise"] for one in plan["promises"]]
    assert 0 < plan["most"] < 1
    assert sorted(set(laptop.folder.iterdir()) - {laptop.home}) == sorted(set(before) - {laptop.home})
