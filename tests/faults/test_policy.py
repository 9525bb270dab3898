"""The policy that `iam-policy` prints, in force: on a local cloud whose hosts are no containers, its user may do what
that says and no more. Of EC2's statements only the actions count there, as the emulator knows no tags of a call."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.errors import AuthError
from localcloud.emulator import ADMIN
from tests.cloud.support import Emulator, Laptop, start_cloud, stop_cloud

pytestmark = pytest.mark.timeout(900)
UP = ("up", "--instance", "p3.8xlarge", "--name", "lab")
JUDGED = ("iam:", "s3:", "scheduler:")


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    """A local cloud of this test's own: its only user is given fewer rights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROVISION_LOCAL_HOME", str(tmp_path / "local"))
        one = start_cloud(f"policy{os.getpid()}", "--edge")
        yield one
        stop_cloud(one)


def laptop(emulator: Emulator, folder: Path, settings: str = "") -> Laptop:
    folder.mkdir()
    one = Laptop(emulator, folder / "home", folder)
    (one.home / "config" / "provision").mkdir(parents=True)
    (one.home / "config" / "provision" / "settings.yaml").write_text(settings)
    return one


def judged(policy: dict[str, Any]) -> str:
    """The policy without the conditions that the emulator cannot judge."""
    rows = [
        one if str(one["Action"]).strip("['").startswith(JUDGED) else {**one, "Resource": "*", "Condition": {}}
        for one in policy["Statement"]
    ]
    return json.dumps({**policy, "Statement": [{key: one[key] for key in one if one[key]} for one in rows]})


def test_all_works_under_the_printed_policy_with_its_boundary_and_no_role_is_made_without(
    emulator: Emulator, tmp_path: Path
) -> None:
    iam = emulator.client("iam")
    bare = laptop(emulator, tmp_path / "bare")
    document = bare.ok("iam-policy", "--boundary")
    arn = iam.create_policy(PolicyName="provision-boundary", PolicyDocument=document)["Policy"]["Arn"]
    bound = laptop(emulator, tmp_path / "bound", f"permissions_boundary: {arn}\n")
    policy = json.loads(bound.ok("iam-policy"))
    iam.put_user_policy(UserName=ADMIN, PolicyName="everything", PolicyDocument=judged(policy))

    refused = bare.run(*UP)
    assert refused.returncode == AuthError.exit_code, refused.stderr
    assert "create a role" in refused.stderr and "provision iam-policy" in refused.stderr
    assert emulator.instances() == []

    bound.ok(*UP)
    assert len(emulator.instances("running")) == 1
    seen = {one["check"]: one for one in json.loads(bound.run("doctor", "--json").stdout)}
    assert (seen["boundary"]["state"], arn in seen["boundary"]["found"]) == ("ok", True)
    assert "runs yet" in bound.ok("runs")
    bound.ok("extend", "lab", "2h")
    bound.ok("down", "lab")
    assert emulator.instances() == []

    s3, ours = emulator.client("s3"), f"provision-{arn.split(':')[4]}-us-east-1"
    s3.create_bucket(Bucket=ours)
    s3.put_object(Bucket=ours, Key="runs/a/manifest.json", Body=b"{}")
    assert s3.get_object(Bucket=ours, Key="runs/a/manifest.json")["Body"].read() == b"{}"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.create_bucket(Bucket="salaries")
