"""A region of AWS as planning and the doctor see it: answers by operation, given where botocore would send.

Clients are dear, so that all regions of one name share theirs; the newest of a name answers.
"""

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from botocore.awsrequest import AWSResponse

from infra.aws.session import Cloud, client
from infra.shell import Secret
from tests.unit.price_answers import from_table, wanted

Answer = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]

SERVICES = ("ec2", "ssm", "sts", "iam", "service-quotas", "scheduler", "s3", "stepfunctions")
OWN_ADDRESS = "203.0.113.9"


class Refusal(Exception):
    """An answer that is an error of AWS's, by its code."""


class AwsRegion:
    """`answers`: operation ("DescribeSubnets") → its answer, or a function of its words; `calls` counts them."""

    def __init__(self, region: str, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.calls: Counter[str] = Counter()
        self.cloud = Cloud(
            name="aws", region=region, check_ip=f"data:text/plain,{OWN_ADDRESS}", access_key="AKREGION",
            secret_key=Secret("x"),
        )  # fmt: skip
        self._lock = threading.Lock()
        if region not in _newest:
            _take(self.cloud)
        _newest[region] = self

    def answer(self, operation: str, words: Mapping[str, Any]) -> tuple[AWSResponse, dict[str, Any]]:
        with self._lock:
            self.calls[operation] += 1
        answer = self.answers[operation]
        said = {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {}}}
        try:
            return AWSResponse("", 200, {}, None), {**said, **(answer(words) if callable(answer) else answer)}
        except Refusal as refusal:
            return AWSResponse("", 400, {}, None), {**said, "Error": {"Code": str(refusal), "Message": "refused"}}


_newest: dict[str, AwsRegion] = {}


def _take(cloud: Cloud) -> None:
    """A call's words and its answer pass by in one thread, one after the other."""
    now = threading.local()

    def remember(params: Mapping[str, Any], **_: object) -> None:
        now.words = params

    def answer(model: Any, **_: object) -> Any:
        asked = wanted(now.words)["regionCode"] if model.name == "GetProducts" else cloud.region
        return _newest[asked].answer(model.name, now.words)

    list_of_all = client(dataclasses.replace(cloud, region="us-east-1"), "pricing", attempts=1)
    for api in (*(client(cloud, service) for service in SERVICES), list_of_all):
        api.meta.events.register_first("provide-client-params", remember)
        api.meta.events.register_first("before-call", answer)


def refuses(code: str) -> Answer:
    def answer(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise Refusal(code)

    return answer


def region(
    offered: Mapping[str, tuple[str, ...]], prices: Mapping[str, float], *, name: str = "us-east-1",
    quota: int = 1000, running: tuple[tuple[str, str], ...] = (), baked: tuple[str, ...] = (),
) -> AwsRegion:  # fmt: skip
    """A region with default subnets in a, b and c.

    `offered`: type → zones' letters; `prices`: type → spot price in its first zone, each next zone a tenth more;
    `running`: type and lifecycle ("spot" or "") of machines with 32 vCPUs; `baked`: our own images for a Turing.
    """

    def offerings(words: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = next((one["Values"] for one in words.get("Filters", ()) if one["Name"] == "instance-type"), offered)
        pairs = [(kind, f"{name}{letter}") for kind in asked for letter in offered.get(kind, ())]
        return {"InstanceTypeOfferings": [{"InstanceType": kind, "Location": zone} for kind, zone in pairs]}

    def history(words: Mapping[str, Any]) -> Mapping[str, Any]:
        rows = [
            {"InstanceType": kind, "AvailabilityZone": f"{name}{letter}", "Timestamp": 1,
             "SpotPrice": f"{prices[kind] * (1 + number / 10):.4f}"}
            for kind in words["InstanceTypes"] if kind in prices for number, letter in enumerate(offered.get(kind, ()))
        ]  # fmt: skip
        return {"SpotPriceHistory": rows}

    def images(words: Mapping[str, Any]) -> Mapping[str, Any]:
        if "ImageIds" in words:
            return {"Images": [{"ImageId": words["ImageIds"][0], "RootDeviceName": "/dev/sda1"}]}
        wanted = next(one["Values"] for one in words["Filters"] if one["Name"] == "tag:provision:baked")
        disks = [{"DeviceName": "/dev/baked", "Ebs": {"VolumeSize": 150}}]
        about = {"RootDeviceName": "/dev/baked", "BlockDeviceMappings": disks}
        found = [{"ImageId": one, "CreationDate": one, **about} for one in baked]
        return {"Images": found if "Turing" in wanted else []}

    rows = [
        {"InstanceType": kind, "CpuOptions": {"CoreCount": 16, "ThreadsPerCore": 2},
         **({"InstanceLifecycle": market} if market else {})}
        for kind, market in running
    ]  # fmt: skip
    subnets = [{"AvailabilityZone": f"{name}{letter}", "SubnetId": f"subnet-{letter}"} for letter in "abc"]
    return AwsRegion(name, {
        "DescribeInstanceTypes": {"InstanceTypes": []},
        "DescribeInstanceTypeOfferings": offerings,
        "DescribeSubnets": {"Subnets": subnets},
        "DescribeSpotPriceHistory": history,
        "DescribeInstances": {"Reservations": [{"Instances": rows}]},
        "DescribeImages": images,
        "DescribeVolumes": {"Volumes": []},
        "GetCallerIdentity": {"Account": "111111111111", "Arn": "arn:aws:iam::111111111111:user/me"},
        "GetParameter": lambda words: {"Parameter": {"Value": "ami-" + words["Name"].split("/")[3]}},
        "GetProducts": from_table,
        "GetServiceQuota": {"Quota": {"Value": float(quota)}},
    })  # fmt: skip
