"""`--via ssm`: a machine that no inbound rule leads to, and everything that goes over SSH works all the same.

AWS's own program and its protocol are stood in for (localcloud.ssm); StartSession, roles, the host key, ssh and the
machine's packet filter are as everywhere.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.keys import new_pair
from tests.cloud.support import Laptop

pytestmark = pytest.mark.cloud
PLUGIN = "session-manager-plugin"


@pytest.fixture
def ssm(laptop: Laptop, tmp_path: Path) -> Laptop:
    """A laptop with the plugin's stand-in, which notes the words that it was called with."""
    programs = tmp_path / "programs"
    programs.mkdir()
    plugin = programs / PLUGIN
    plugin.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/plugin.log\nexec {sys.executable} -m localcloud.ssm "$@"\n')
    plugin.chmod(0o755)
    laptop.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    return laptop


def ends_of(process: "subprocess.Popen[str]") -> str:
    process.terminate()
    out, _ = process.communicate(timeout=20)
    return out


def connected(port: int) -> socket.socket:
    """A connection to a port of this machine that is just being opened."""
    for _ in range(80):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            time.sleep(0.25)
    raise AssertionError(f"nothing listens on {port}")


def test_a_machine_without_any_inbound_rule(ssm: Laptop, tmp_path: Path) -> None:
    up = ssm.run("up", "--instance", "p2.xlarge", "--name", "quiet", "--max-hours", "0.5", "--via", "ssm")
    assert up.returncode == 0, up.stderr
    assert "waiting for SSH through Session Manager" in up.stderr
    [instance] = ssm.emulator.instances("running")

    groups = ssm.emulator.client("ec2").describe_security_groups(
        GroupIds=[one["GroupId"] for one in instance["SecurityGroups"]]
    )["SecurityGroups"]
    assert groups
    assert not any(one["IpPermissions"] for one in groups)
    with pytest.raises(OSError):
        socket.create_connection((instance["PublicIpAddress"], 22), timeout=3)

    assert ssm.ok("ssh", "quiet", "--", "id", "-un") == "provision\n"
    (tmp_path / "note.txt").write_text("by no port")
    ssm.ok("put", "quiet", str(tmp_path / "note.txt"), "/data/note.txt")
    assert ssm.ok("ssh", "quiet", "--", "cat", "/data/note.txt").strip() == "by no port"
    tokens = (tmp_path / "plugin.log").read_text()
    assert "AWS_SSM_START_SESSION_RESPONSE us-east-1 StartSession" in tokens
    assert "TokenValue" not in tokens

    if shutil.which("ssh"):  # an interactive shell is the system's own ssh
        line = subprocess.run(
            [sys.executable, "-m", "provision", "ssh", "quiet"], input="cat /data/note.txt\n", text=True,
            capture_output=True, cwd=ssm.folder, env=ssm._environment, timeout=120,
        )  # fmt: skip
        assert "by no port" in line.stdout, line.stderr

    ssm.ok("ssh", "quiet", "--", "sudo", "systemd-run", "python3", "-m", "http.server", "-d", "/data", "8000")
    forward = ssm.start("forward", "quiet", "8000", "--local-port", "18000")
    try:
        assert forward.stdout and "127.0.0.1:18000" in forward.stdout.readline()
        with connected(18000) as there:
            there.sendall(b"GET /note.txt HTTP/1.0\r\n\r\n")
            assert b"by no port" in b"".join(iter(lambda: there.recv(4096), b""))
    finally:
        ends_of(forward)

    another_key_is_refused(ssm, instance["InstanceId"])
    without_the_role_there_is_no_way_in(ssm, instance["InstanceId"])
    without_the_plugin_the_error_names_it(ssm)
    gone = json.loads(ssm.ok("down", "quiet", "--json"))
    assert gone["ended"]["instances"] == [instance["InstanceId"]]


def another_key_is_refused(ssm: Laptop, instance_id: str) -> None:
    [known] = (ssm.home / "state").rglob("known_hosts")
    right = known.read_text()
    known.write_text(f"{instance_id} {new_pair('another').public}\n")
    try:
        refused = ssm.run("ssh", "quiet", "--", "true")
        assert refused.returncode == 10, refused.stderr
    finally:
        known.write_text(right)


def without_the_role_there_is_no_way_in(ssm: Laptop, instance_id: str) -> None:
    iam = ssm.emulator.client("iam")
    [role] = [one["RoleName"] for one in iam.list_roles()["Roles"] if one["Path"].startswith("/provision/")]
    kept = iam.get_role_policy(RoleName=role, PolicyName="session-manager")["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName="session-manager")
    refused = ssm.run("ssh", "quiet", "--", "true")
    assert refused.returncode == 9
    assert f"Session Manager does not reach {instance_id}" in refused.stderr
    iam.put_role_policy(RoleName=role, PolicyName="session-manager", PolicyDocument=json.dumps(kept))
    assert ssm.ok("ssh", "quiet", "--", "echo", "again") == "again\n"


def without_the_plugin_the_error_names_it(ssm: Laptop) -> None:
    path = ssm.environment.pop("PATH")
    refused = ssm.run("ssh", "quiet", "--", "true")
    assert refused.returncode == 9
    assert PLUGIN in refused.stderr
    assert "install it" in refused.stderr
    begun = time.monotonic()
    refused = ssm.run("up", "--instance", "p2.xlarge", "--name", "never", "--via", "ssm")
    assert refused.returncode == 9
    assert PLUGIN in refused.stderr
    assert time.monotonic() - begun < 60
    assert len(ssm.emulator.instances()) == 1  # the first one
    ssm.environment["PATH"] = path
