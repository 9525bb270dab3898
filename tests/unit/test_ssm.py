"""`--via ssm`: what is asked of Session Manager, where its token goes, and what users read when it does not work."""

import functools
import json
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from infra.address import Address, ssh_words
from infra.aws import session_manager
from infra.aws.ec2 import Ec2
from infra.aws.iam import MACHINE, SESSIONS, Iam
from infra.aws.session import client
from infra.aws.types import Instance
from infra.errors import AuthError, HostError, HostKeyError
from infra.keys import pin
from infra.proxy import as_said
from infra.shell import Result
from provision.machines import bootstrap, journal, login, ssm_proxy, up
from tests.unit.fake_aws import CLOUD, FakeAws, Refused, machine, tags

SESSION = {"SessionId": "me-0123", "TokenValue": "very secret", "StreamUrl": "wss://ssmmessages/me-0123"}
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)


@functools.cache
def _ssm() -> None:
    """The session manager's client answers as the others do."""
    given = threading.local()
    events = client(CLOUD, "ssm").meta.events
    events.register("provide-client-params", lambda params, **_: setattr(given, "params", params))
    events.register("before-call", lambda model, **_: FakeAws.newest.answer(model, given.params))


def aws(**answers: Any) -> FakeAws:
    _ssm()
    return FakeAws(**answers)


def instance(via: str = "ssm", address: str | None = None) -> Instance:
    marks = {"provision:name": "lab", "provision:resource": "provision-lab-01234567", "provision:via": via}
    return Instance("i-1", "lab", "running", "p3.8xlarge", "us-east-1a", "spot", address, NOW, marks)


# the session


def test_a_session_leads_to_port_22_and_its_token_is_on_no_command_line() -> None:
    cloud = aws(StartSession=SESSION)
    words, environment = session_manager.start(cloud.cloud, "i-1")
    assert cloud.of("StartSession") == [
        {"Target": "i-1", "DocumentName": "AWS-StartSSHSession", "Parameters": {"portNumber": ["22"]}}
    ]
    assert "very secret" not in " ".join(words)
    assert words[:5] == ["session-manager-plugin", "AWS_SSM_START_SESSION_RESPONSE", "us-east-1", "StartSession", ""]
    assert json.loads(words[5])["Target"] == "i-1"
    assert words[6] == "http://127.0.0.1:9"
    assert json.loads(environment["AWS_SSM_START_SESSION_RESPONSE"]) == SESSION


def test_a_machine_that_has_not_reported_is_no_fault_of_aws() -> None:
    with pytest.raises(HostError, match="does not reach i-1") as refused:
        session_manager.start(aws(StartSession=Refused("TargetNotConnected")).cloud, "i-1")
    assert "agent" in refused.value.mend


def test_what_is_not_allowed_names_the_policy() -> None:
    with pytest.raises(AuthError) as refused:
        session_manager.start(aws(StartSession=Refused("AccessDeniedException")).cloud, "i-1")
    assert "provision iam-policy" in refused.value.mend


@pytest.mark.parametrize(
    ("version", "old"),
    [("1.2.463.0\n", True), ("1.2.496.0", True), ("1.2.497.0", False), ("1.10.1.0", False), ("", False)],
)  # fmt: skip
def test_a_plugin_that_wants_its_token_as_a_word_is_too_old(version: str, old: bool) -> None:
    assert session_manager.too_old(version) is old


def test_a_missing_plugin_is_named_before_anything_is_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cloud = aws()
    for begin in (
        lambda: up.rejoin(cloud.cloud, instance(), print),
        lambda: session_manager.connect(cloud.cloud, "i-1"),
    ):
        with pytest.raises(HostError, match="session-manager-plugin") as refused:
            begin()
        assert "install it" in refused.value.mend
    assert cloud.calls == []


# the way in


def test_the_way_in_needs_no_address_and_names_no_secret() -> None:
    place = journal.folder(CLOUD, "lab")
    place.mkdir(parents=True)
    pin(place / "known_hosts", "i-1", "ssh-ed25519 AAAA")
    found = login.address(CLOUD, instance())
    assert found.proxy == ssm_proxy.words(CLOUD, "i-1")
    assert found.proxy[0] == sys.executable
    assert found.proxy[3:] == ("i-1", "fake", "us-east-1")
    assert (found.host, found.alias) == ("i-1", "i-1")
    assert str(CLOUD.secret_key) not in found.proxy
    plain = login.address(CLOUD, instance("ssh", "192.0.2.9"))
    assert (plain.host, plain.proxy) == ("192.0.2.9", None)


def test_the_systems_ssh_goes_the_same_way_and_checks_the_same_key(tmp_path: Path) -> None:
    proxy = ("/a path/python", "-c", "print('50%')", "i-1")
    words = ssh_words(Address("i-1", "provision", tmp_path / "key", tmp_path / "known", "i-1", proxy=proxy))
    [command] = [word for word in words if word.startswith("ProxyCommand=")]
    assert "'/a path/python' -c" in command
    assert "50%%" in command  # ssh has tokens that begin with %
    assert "StrictHostKeyChecking=yes" in words
    assert "HostKeyAlias=i-1" in words
    bare = ssh_words(Address("192.0.2.1", "provision", tmp_path / "key", tmp_path / "known", "i-1"))
    assert not any("ProxyCommand" in word for word in bare)


def test_a_machine_without_an_address_runs_all_the_same() -> None:
    cloud = aws(DescribeInstances={"Reservations": [{"Instances": [machine("i-1", tags(name="lab", via="ssm"))]}]})
    assert Ec2(cloud.cloud, lambda _: None).wait_running(instance()).address is None


# its words when it fails


def test_the_programs_own_error_is_what_is_shown() -> None:
    error = as_said(9, "a warning\nSession Manager does not reach i-1\n  wait a minute\n")
    assert (type(error), error.what, error.mend) == (HostError, "Session Manager does not reach i-1", "wait a minute")
    assert isinstance(as_said(3, "cannot start a session\n  see the policy"), AuthError)
    assert as_said(1, "").what
    assert as_said(255, "only one line").what == "only one line"


class Door:
    """A shell whose first connections fail as told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None: ...

    def run(self, words: list[str], check: bool = True) -> Result:
        if self.errors:
            raise self.errors.pop(0)
        return Result(0, "ready\n")


def wait(door: Door, log: Path) -> list[str]:
    said: list[str] = []
    log_in: Callable[[], Any] = lambda: door  # noqa: E731
    way = bootstrap.Way(lambda: True, log_in, lambda: "")
    bootstrap.wait_ready(instance(), way, log, said.append, lambda _: None)
    return said


def test_an_agent_that_has_not_reported_yet_is_waited_for(tmp_path: Path) -> None:
    said = wait(Door(*[HostError("Session Manager does not reach i-1")] * 3), tmp_path / "log")
    assert said == ["running; waiting for SSH through Session Manager", "  host: ready"]


@pytest.mark.parametrize("error", [AuthError("not allowed"), HostKeyError("another key")])
def test_what_waiting_cannot_mend_is_final(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        wait(Door(error), tmp_path / "log")


# the machine's own right


def test_the_agents_right_is_no_runs_and_reads_nothing() -> None:
    cloud = aws(ListRolePolicies={"PolicyNames": ["digits-1", SESSIONS, MACHINE]})
    iam = Iam(cloud.cloud)
    iam.allow_sessions("provision-lab-01234567")
    [given] = cloud.of("PutRolePolicy")
    [statement] = json.loads(given["PolicyDocument"])["Statement"]
    assert "ssmmessages:OpenControlChannel" in statement["Action"]
    assert not any("Get" in action or "*" in action for action in statement["Action"])
    assert iam.policies("provision-lab-01234567") == ["digits-1"]


@pytest.mark.parametrize(("via", "given"), [("ssm", [MACHINE, SESSIONS]), ("ssh", [MACHINE])])
def test_only_a_machine_without_a_port_gets_it(via: str, given: list[str]) -> None:
    cloud = aws()
    runs = threading.Event()
    runs.set()
    up._give_role(cloud.cloud, instance(via), runs, lambda _: None)
    assert [words["PolicyName"] for words in cloud.of("PutRolePolicy")] == given
    assert cloud.names()[-1] == "AssociateIamInstanceProfile"  # by then the role has it
