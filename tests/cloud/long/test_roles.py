"""Who may do what, by what really happens: a role in S3, SSH from elsewhere, containers and the metadata service."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.cloud.support import (
    METADATA,
    ROLE_KEYS,
    SHORT,
    Emulator,
    Laptop,
    as_the_instance,
    inside,
    rented,
    run_of,
    runs_bucket,
)

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]

TOKEN = f"""import urllib.request as u
r = u.Request("{METADATA}/api/token", method="PUT", headers={{"X-aws-ec2-metadata-token-ttl-seconds": "60"}})
print("token", len(u.urlopen(r, timeout=3).read()) > 0)"""
PORT = "import socket, sys; socket.create_connection((sys.argv[1], 22), 3); print('open')"


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A machine that has trained."""
    with rented(emulator, tmp_path_factory.mktemp("roles"), "guarded", "p2.xlarge") as one:
        yield one


@pytest.fixture(scope="module")
def run(host: Laptop) -> str:
    return run_of(host.ok("train", "digits", "--on", "guarded", *SHORT))


def refused(call: Any, **words: Any) -> bool:
    with pytest.raises(ClientError) as error:
        call(**words)
    return bool(error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403)


def test_a_runs_role_reaches_its_own_prefix_and_no_other(host: Laptop, run: str) -> None:
    admin, mine, bucket = host.emulator.client("s3"), as_the_instance(host, "guarded"), runs_bucket(host.emulator)
    own, other = f"runs/{run}/", f"runs/{run}x/"  # a prefix that begins like its own is another
    admin.put_object(Bucket=bucket, Key=f"{other}manifest.json", Body=b"{}")
    assert mine.get_object(Bucket=bucket, Key=f"{own}manifest.json")["Body"].read()
    mine.put_object(Bucket=bucket, Key=f"{own}outputs/probe", Body=b"x")
    for key in ("manifest.json", "attempts/001.json", "attempts/002.json"):  # what a laptop acts upon
        assert refused(mine.put_object, Bucket=bucket, Key=f"{own}{key}", Body=b"evil")
    assert mine.list_objects_v2(Bucket=bucket, Prefix=own)["KeyCount"] > 0

    assert refused(mine.get_object, Bucket=bucket, Key=f"{other}manifest.json")
    assert refused(mine.put_object, Bucket=bucket, Key=f"{other}manifest.json", Body=b"evil")
    assert refused(mine.delete_object, Bucket=bucket, Key=f"{other}manifest.json")
    assert refused(mine.list_objects_v2, Bucket=bucket, Prefix=other)
    assert refused(mine.list_objects_v2, Bucket=bucket)
    assert refused(
        mine.copy_object, Bucket=bucket, Key=f"{own}outputs/stolen",
        CopySource={"Bucket": bucket, "Key": f"{other}manifest.json"},
    )  # fmt: skip
    assert admin.get_object(Bucket=bucket, Key=f"{other}manifest.json")["Body"].read() == b"{}"
    admin.delete_object(Bucket=bucket, Key=f"{other}manifest.json")


def test_the_role_may_nothing_but_that(host: Laptop, run: str) -> None:
    keys = json.loads(host.ok("ssh", "guarded", "--", ROLE_KEYS))
    facts = host.emulator.facts
    own = {
        "aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["Token"], "region_name": facts["region"], "endpoint_url": facts["endpoint"],
    }  # fmt: skip
    for service, call in (("ec2", "describe_instances"), ("iam", "list_roles"), ("s3", "list_buckets")):
        assert refused(getattr(boto3.client(service, **own), call)), call


def test_ssh_from_another_address_is_refused(host: Laptop) -> None:
    [instance] = host.emulator.instances("running")
    [container] = host.emulator.containers()
    image = subprocess.run(["docker", "inspect", "-f", "{{.Image}}", container], capture_output=True, text=True)
    network = f"provision-local-{host.emulator.name}-net"
    words = ["docker", "run", "--rm", "--network", network, image.stdout.strip(), "python3", "-c", PORT]
    stranger = subprocess.run([*words, instance["PublicIpAddress"]], capture_output=True, text=True)
    assert stranger.returncode == 1
    assert "timed out" in stranger.stderr
    assert host.ok("ssh", "guarded", "--", "echo in").strip() == "in"


def test_a_container_cannot_reach_the_metadata_service(host: Laptop, run: str, tmp_path: Path) -> None:
    """The hop limit: the host and what shares its network are one hop away, a container on the bridge is two."""
    [container] = host.emulator.containers()
    (tmp_path / "probe.py").write_text(TOKEN)
    host.ok("put", "guarded", str(tmp_path / "probe.py"), "/tmp/probe.py")
    image = inside(container, "docker images -q | head -n 1")
    asks = f"-v /tmp/probe.py:/probe.py {image} python3 /probe.py"
    assert inside(container, "python3 /tmp/probe.py") == "token True"
    assert inside(container, f"docker run --rm --network host {asks}") == "token True"
    assert inside(container, f"docker run --rm {asks} 2>&1 | tail -n 1", check=False) != "token True"
    assert "timed out" in inside(container, f"docker run --rm {asks} 2>&1 | tail -n 1", check=False)
