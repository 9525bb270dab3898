"""The embedded cloud's answers, through boto3: what AWS would say, and no machine is needed to hear it."""

import base64
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from infra.aws import price_list, session
from infra.shell import Secret
from tests.cloud.localcloud_kit import Cloud, docker, eventually, refused, running_cloud, words

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("local")) as running:
        yield running


def test_start_again_changes_nothing(cloud: Cloud) -> None:
    again = json.loads(words("start", "--name", cloud.record["name"], home=cloud.home))
    assert again == cloud.record


def test_the_same_token_launches_once(cloud: Cloud) -> None:
    first = cloud.launch(ClientToken="one")
    assert cloud.launch(ClientToken="one") == first
    asked = {"ImageId": cloud.image(), "MinCount": 1, "MaxCount": 1, "ClientToken": "one"}
    assert refused(cloud.ec2.run_instances, InstanceType="t3.large", **asked) == "IdempotentParameterMismatch"
    labels = ["--filter", f"label=provision.local={cloud.record['name']}", "--filter", "label=provision.instance"]
    eventually(lambda: docker("ps", "-q", *labels))
    assert len(docker("ps", "-q", *labels).split()) == 1
    cloud.ec2.terminate_instances(InstanceIds=[first])
    eventually(lambda: cloud.gone(first))


def test_the_old_gpu_types_are_offered_and_priced(cloud: Cloud) -> None:
    described = cloud.ec2.describe_instance_types(InstanceTypes=["p3.8xlarge", "p2.xlarge"])["InstanceTypes"]
    gpus = {one["InstanceType"]: one["GpuInfo"]["Gpus"][0] for one in described}
    assert (gpus["p3.8xlarge"]["Name"], gpus["p3.8xlarge"]["Count"]) == ("V100", 4)
    assert gpus["p2.xlarge"]["Name"] == "K80"
    asked = {"InstanceTypes": ["p3.8xlarge"], "StartTime": datetime.now(timezone.utc)}
    prices = cloud.ec2.describe_spot_price_history(**asked)["SpotPriceHistory"]
    assert sorted(row["AvailabilityZone"] for row in prices) == ["us-east-1a", "us-east-1b", "us-east-1c"]
    assert len({row["SpotPrice"] for row in prices}) == 3
    assert all(1 < float(row["SpotPrice"]) < 12.24 for row in prices)


def test_the_price_list_is_read_as_aws_writes_it(cloud: Cloud) -> None:
    keys = cloud.record["access_key"], Secret(cloud.record["secret_key"])
    here = session.Cloud("local", "us-west-2", cloud.record["endpoint"], access_key=keys[0], secret_key=keys[1])
    assert price_list.on_demand(here, "p3.8xlarge") == 12.24
    assert price_list.on_demand(here, "p9.huge") is None


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"InstanceType": "p9.huge"}, "InvalidInstanceType.NotFound"),
        ({"ImageId": "ami-12345678"}, "InvalidAMIID.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"MetadataOptions": {"HttpPutResponseHopLimit": 2}}, "UnsupportedOperation"),
        ({"Placement": {"AvailabilityZone": "us-east-1f"}}, "Unsupported"),
        ({"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.01"}}}, "SpotMaxPriceTooLow"),
    ],
)
def test_a_launch_that_aws_would_refuse(cloud: Cloud, asked: dict[str, Any], code: str) -> None:
    good = {"ImageId": cloud.image(), "InstanceType": "p3.2xlarge", "MinCount": 1, "MaxCount": 1}
    assert refused(cloud.ec2.run_instances, **{**good, **asked}) == code


def test_wrong_keys_are_refused(cloud: Cloud) -> None:
    stranger = {"aws_access_key_id": "AKIA" + "A" * 16}
    assert refused(cloud.client("ec2", **stranger).describe_instances) == "AuthFailure"
    assert refused(cloud.client("sts", **stranger).get_caller_identity) == "InvalidClientTokenId"
    wrong = {"aws_secret_access_key": "wrong"}
    assert refused(cloud.client("sts", **wrong).get_caller_identity) == "SignatureDoesNotMatch"


def test_the_log_of_calls_hides_secrets(cloud: Cloud) -> None:
    data = base64.b64encode(b"#cloud-config\n# my-secret").decode()
    asked = {"ImageId": cloud.image(), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert refused(cloud.ec2.run_instances, UserData=data, DryRun=True, **asked) == "DryRunOperation"
    text = words("calls", "--name", cloud.record["name"], "--json", home=cloud.home)
    last = json.loads(text)[-1]
    assert (last["action"], last["params"]["InstanceType"], last["status"]) == ("RunInstances", "t3.micro", 412)
    assert data not in text and base64.b64encode(data.encode()).decode() not in text
    assert cloud.record["secret_key"] not in text


def test_what_it_cannot_do_is_said_in_words(cloud: Cloud) -> None:
    asked = {"TargetCapacity": 1, "InstanceTypes": ["p3.8xlarge"]}
    assert refused(cloud.ec2.get_spot_placement_scores, **asked) == "UnsupportedOperation"


def test_a_stop_in_the_middle_of_launches_leaves_nothing(tmp_path: Path) -> None:
    with running_cloud(tmp_path) as brief:
        brief.ec2.run_instances(ImageId=brief.image(), InstanceType="t3.micro", MinCount=3, MaxCount=3)
