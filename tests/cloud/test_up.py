"""`up`, `ls`, `ssh`, `put`, `forward`, `down`: a real host with sshd, cloud-init and systemd behind the emulator."""

import base64
import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cloud.localcloud_kit import eventually
from tests.cloud.support import Laptop, inside, interrupt, runs_bucket, until

pytestmark = pytest.mark.cloud
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIHjl0xdpCxMSl4zRzpIDO2cBzOdvI1nGyOgRrBcOvKqd"


def test_up_ls_ssh_put_forward_down(laptop: Laptop, tmp_path: Path) -> None:
    out = laptop.ok("up", "--instance", "p3.8xlarge", "--name", "one", "--max-hours", "3")
    assert "one is ready: p3.8xlarge spot" in out
    [instance] = laptop.emulator.instances("running")
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags["provision:name"] == "one"
    assert instance["InstanceLifecycle"] == "spot"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    ec2 = laptop.emulator.client("ec2")
    given = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")["UserData"][
        "Value"
    ]
    told = base64.b64decode(given)
    assert len(told) <= 4096 and b"PRIVATE" not in gzip.decompress(told)
    [volume] = ec2.describe_volumes()["Volumes"]
    assert volume["Encrypted"] is True
    assert {tag["Key"] for tag in volume["Tags"]} >= {"provision:name", "provision:resource"}

    again = laptop.ok("up", "--instance", "p3.8xlarge", "--name", "one")
    assert "ready" in again
    assert len(laptop.emulator.instances()) == 1

    said = laptop.ok("ssh", "one", "--", "nvidia-smi -L | wc -l; id -un")
    assert said.split() == ["4", "provision"]
    assert laptop.run("ssh", "one", "--", "exit 7").returncode == 7

    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("b")
    (folder / "c.log").write_text("c")
    (folder / ".provisionignore").write_text("*.log\n")
    assert "2 changed files" in laptop.ok("put", "one", str(folder), "/home/provision/p")
    assert "0 changed files" in laptop.ok("put", "one", str(folder), "/home/provision/p")
    (folder / "a.txt").write_text("longer")
    assert "1 changed files" in laptop.ok("put", "one", str(folder), "/home/provision/p")
    assert laptop.ok("ssh", "one", "--", "cat p/a.txt p/sub/b.txt; ls p | wc -l") == "longerb2\n"

    laptop.ok("ssh", "one", "--", "cd p && nohup python3 -m http.server 8888 >/dev/null 2>&1 &")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = laptop.run("forward", "one", "8888", "--local-port", str(port))
    assert (refused.returncode, "is in use" in refused.stderr) == (2, True)
    process = laptop.start("forward", "one", "8888", "--local-port", str(port))
    until(process, f"127.0.0.1:{port}")
    socket.create_connection(("127.0.0.1", port)).close()  # it listens when it says so
    assert fetched(f"http://127.0.0.1:{port}/a.txt") == b"longer"
    interrupt(process)
    assert process.wait(20) == 130

    gone = json.loads(laptop.ok("down", "one", "--json"))
    assert gone["ended"]["instances"] == [instance["InstanceId"]]
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def fetched(url: str) -> bytes:
    """What a server that has just been started answers."""
    for _ in range(20):
        try:
            return bytes(urllib.request.urlopen(url, timeout=10).read())
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} does not answer")


def test_a_wrong_host_key_is_refused(laptop: Laptop) -> None:
    laptop.ok("up", "--instance", "p2.xlarge", "--name", "mitm")
    [container] = laptop.emulator.containers()
    change = (
        "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key;"
        "systemctl restart ssh"
    )
    subprocess.run(["docker", "exec", container, "sh", "-c", change], check=True)
    done = laptop.run("ssh", "mitm", "--", "echo secret")
    assert done.returncode == 10
    assert "host key" in done.stderr
    assert "provision down mitm" in done.stderr
    assert "secret" not in done.stdout
    assert "Traceback" not in done.stderr


def test_an_unknown_host_key_is_refused(laptop: Laptop) -> None:
    laptop.ok("up", "--instance", "p2.xlarge", "--name", "new")
    [pinned] = (laptop.home / "state").rglob("known_hosts")
    alias, kind, _ = pinned.read_text().split()
    pinned.write_text(f"{alias} {kind} {OTHER}\n")
    assert laptop.run("ssh", "new", "--", "true").returncode == 10
    s3, [key] = laptop.emulator.client("s3"), told_keys(laptop)
    s3.put_object(Bucket=runs_bucket(laptop.emulator), Key=key, Body=f"{kind} {OTHER}".encode())
    pinned.unlink()
    assert laptop.run("ssh", "new", "--", "true").returncode == 10  # somebody else's, though S3 has it
    s3.delete_object(Bucket=runs_bucket(laptop.emulator), Key=key)
    pinned.unlink()
    done = laptop.run("ssh", "new", "--", "true")
    assert done.returncode == 9
    assert "does not know the host key of new" in done.stderr


def told_keys(laptop: Laptop) -> list[str]:
    """The host keys that machines of this laptop's cloud have told."""
    found = laptop.emulator.client("s3").list_objects_v2(Bucket=runs_bucket(laptop.emulator), Prefix="machines/")
    living = {one["InstanceId"] for one in laptop.emulator.instances()}
    return [one["Key"] for one in found["Contents"] if one["Key"].rsplit("/", 1)[-1] in living]


def bundles(laptop: Laptop) -> list[str]:
    """What machines begin with, as it lies in the bucket."""
    found = laptop.emulator.client("s3").list_objects_v2(Bucket=runs_bucket(laptop.emulator), Prefix="host/")
    return [one["Key"] for one in found["Contents"]]


def test_another_laptop_with_the_login_key_knows_the_machine(laptop: Laptop, another: Callable[[str], Laptop]) -> None:
    """It has no notes: it reads the host key where the machine told it. What machines begin with was damaged before."""
    bucket, s3 = runs_bucket(laptop.emulator), laptop.emulator.client("s3")
    for key in bundles(laptop):
        s3.put_object(Bucket=bucket, Key=key, Body=b"damaged")
    laptop.ok("up", "--instance", "p2.xlarge", "--name", "shared")
    other = another("other")
    refused = other.run("ssh", "shared", "--", "true")
    assert (refused.returncode, "does not accept this laptop's key" in refused.stderr) == (9, True)
    shutil.copytree(laptop.home / "config", other.home / "config", dirs_exist_ok=True)
    assert other.ok("ssh", "shared", "--", "id -un") == "provision\n"
    [pinned] = (other.home / "state").rglob("known_hosts")
    [mine] = (laptop.home / "state").rglob("known_hosts")
    assert pinned.read_text() == mine.read_text()


def test_a_machine_that_cannot_begin_says_why_and_ends_itself(laptop: Laptop) -> None:
    """What the local cloud answers for a console is not the machine's; here its own file of it is read."""
    process = laptop.start("up", "--instance", "p2.xlarge", "--name", "lost")
    until(process, "launched in")
    for key in bundles(laptop):
        laptop.emulator.client("s3").delete_object(Bucket=runs_bucket(laptop.emulator), Key=key)
    until(process, "waiting for SSH")
    [container] = laptop.emulator.containers()
    eventually(lambda: "failed" in inside(container, "cat /dev/console", check=False), 240)
    assert inside(container, "cat /dev/console").startswith("provision: failed: HTTPError: HTTP Error 404")
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 22, said
    assert "lost ended while it started" in said
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("up", "--instance", "p3.9xlarge"), 7, "p3.8xlarge"),
        (("up", "--instance", "p3.8xlarge", "--max-price", "0.01"), 6, "--max-price"),
        (("ssh", "nobody", "--", "true"), 14, "provision up"),
        (("down", "nobody"), 14, "provision up"),
        (("train", "digits", "--on", "nobody"), 14, "provision up"),
        (("logs", "digits-1"), 14, "no run"),
    ],
)
def test_refusals_have_one_message_a_mend_and_a_code(
    laptop: Laptop, words: tuple[str, ...], code: int, said: str
) -> None:
    done = laptop.run(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("provision: ") == 1


def test_no_credentials(laptop: Laptop) -> None:
    laptop.environment = {"PROVISION_CLOUD": "aws", "HOME": str(laptop.home), "AWS_CONFIG_FILE": "/nonexistent"}
    done = laptop.run("ls")
    assert done.returncode == 3
    assert "aws configure" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_credentials(laptop: Laptop) -> None:
    """Keys that the cloud does not know."""
    facts = {**laptop.emulator.facts, "access_key": "AKIAUNKNOWN"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(facts)], capture_output=True, text=True, cwd=laptop.folder
    )
    assert done.stdout.startswith("AuthError"), done.stdout + done.stderr


PROBE = """
import json, sys
from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud
from infra.errors import ProvisionError
from infra.shell import Secret
facts = json.loads(sys.argv[1])
cloud = Cloud("local", facts["region"], facts["endpoint"], facts["checkip"], None, facts["access_key"],
              Secret(facts["secret_key"]))
try:
    Ec2(cloud).instances()
except ProvisionError as error:
    print(type(error).__name__, error)
"""


def test_no_docker(laptop: Laptop) -> None:
    laptop.environment = {"DOCKER_HOST": "unix:///nonexistent.sock", "PROVISION_CLOUD": "local:nodocker"}
    done = laptop.run("up", "--instance", "p3.8xlarge")
    assert done.returncode == 11, done.stderr
    assert "Docker" in done.stderr
    assert "Traceback" not in done.stderr


def test_dry_run_touches_nothing(laptop: Laptop) -> None:
    out = laptop.ok("up", "--instance", "p3.8xlarge", "--dry-run", "--json")
    [request] = json.loads(out)
    assert request["offers"][0]["type"]["gpus"] == 4
    assert re.fullmatch(r"ami-\w+", request["image"])
    assert len(request["offers"]) == 3
    assert laptop.emulator.nothing_left()
