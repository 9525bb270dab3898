"""A launch as AWS sees it: what is asked for, what each refusal becomes, and that a call made again is the same."""

import base64
import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from infra.aws.ec2 import Ec2
from infra.aws.fleet import fleet_words, template_data, verdict
from infra.aws.launch import Launcher
from infra.aws.session import Cloud, client
from infra.aws.tags import parse_volumes
from infra.aws.types import DataVolume, Instance, InstanceType, Offer, SpotRequest
from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    ThrottledError,
    UnsupportedError,
)
from infra.shell import Secret

V100 = InstanceType("p3.8xlarge", 32, 249856, "V100", 4, 16384)
T4 = InstanceType("g4dn.12xlarge", 48, 196608, "T4", 4, 16384)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
TAGS = {"provision:name": "lab", "provision:resource": "provision-lab-01234567"}
REQUEST = SpotRequest(
    name="lab", token="0123456789abcdef0123456789abcdef", cloud="aws", region="us-east-1",
    offers=(Offer(V100, "us-east-1a", "subnet-a", 3.5, 12.24), Offer(T4, "us-east-1b", "subnet-b", 1.2, 3.91)),
    image="ami-1", root_device="/dev/sda1", market="spot", disk_gb=100, max_hours=2.0, idle_minutes=30.0,
    address="192.0.2.1", tags=TAGS,
)  # fmt: skip
Answer = Callable[[dict[str, Any]], Any]


class Refused(Exception):
    def __init__(self, code: str, said: str = "no") -> None:
        self.code, self.said = code, said


class Aws:
    """EC2 by a table: operation → its answers in turn, the last one for good. An answer is a value, an exception, or
    made of the call's words. `calls` is what was asked for. The newest table answers."""

    cloud = Cloud("table", "us-east-1", "http://127.0.0.1:9", access_key="A", secret_key=Secret("b"))
    newest: "Aws"

    def __init__(self, **answers: Any) -> None:
        self.answers = {key: list(value) if isinstance(value, list) else [value] for key, value in answers.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        Aws.newest = self
        for attempts in (5, 1):  # real clients, made once, that never reach the network
            api = client(self.cloud, "ec2", attempts)
            api.meta.events.register("provide-client-params", _note, "note")
            api.meta.events.register("before-call", _answer, "answer")

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [words for name, words in self.calls if name == operation]


def _note(params: dict[str, Any], model: Any, **_: Any) -> None:
    Aws.newest.calls.append((model.name, params))


def _answer(model: Any, **_: Any) -> Any:
    left = Aws.newest.answers.get(model.name, [{}])
    answer = left.pop(0) if len(left) > 1 else left[0]
    if callable(answer) and not isinstance(answer, Exception):
        answer = answer(Aws.newest.of(model.name)[-1])
    if isinstance(answer, Refused):
        return Status(400), {"Error": {"Code": answer.code, "Message": answer.said}}
    if isinstance(answer, Exception):
        raise answer
    return Status(200), answer


@dataclasses.dataclass
class Status:
    status_code: int


def refusals(*codes: str, market: str = "spot") -> dict[str, Any]:
    """A fleet's answer that holds refusals only."""
    return {"Instances": [], "Errors": [{"ErrorCode": one, "ErrorMessage": "no", "Lifecycle": market} for one in codes]}


def given(words: dict[str, Any]) -> dict[str, Any]:
    """A fleet's answer with an instance, of the last override."""
    override = words["LaunchTemplateConfigs"][0]["Overrides"][-1]
    market = words["TargetCapacitySpecification"]["DefaultTargetCapacityType"]
    row = {
        "InstanceIds": ["i-1"], "InstanceType": override["InstanceType"], "Lifecycle": market,
        "LaunchTemplateAndOverrides": {"Overrides": override},
    }  # fmt: skip
    return {"Instances": [row], "Errors": []}


class Clock:
    """Time that passes when someone sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    return Clock(monkeypatch)


def launch(aws: Aws, clock: Clock, request: SpotRequest = REQUEST, said: list[str] | None = None) -> Instance:
    into = [] if said is None else said
    return Launcher(aws.cloud, clock.sleep).launch(request, b"user data", into.append, lambda: None)


def table(**more: Any) -> Aws:
    return Aws(**{"CreateSecurityGroup": {"GroupId": "sg-1"}, "CreateFleet": given, **more})


def test_a_launch_is_four_calls_and_tells_what_came_of_it(clock: Clock) -> None:
    aws = table()
    instance = launch(aws, clock)
    assert sorted(name for name, _ in aws.calls) == [
        "AuthorizeSecurityGroupIngress", "CreateFleet", "CreateLaunchTemplate", "CreateSecurityGroup",
    ]  # fmt: skip
    assert (instance.id, instance.type, instance.zone, instance.market) == (
        "i-1", "g4dn.12xlarge", "us-east-1b", "spot",
    )  # fmt: skip
    assert instance.launch == "provision-lab-01234567"


def test_it_tells_when_something_may_be_launched_before_it_may(clock: Clock) -> None:
    aws = table()
    done: list[list[str]] = []
    Launcher(aws.cloud, clock.sleep).launch(
        REQUEST, b"user data", lambda _: None, lambda: done.append([name for name, _ in aws.calls])
    )
    (before,) = done
    assert "CreateLaunchTemplate" in before
    assert "CreateFleet" not in before


def test_everything_is_tagged_when_it_is_created(clock: Clock) -> None:
    aws = table()
    launch(aws, clock)
    want = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    for call, kind in (
        ("CreateSecurityGroup", "security-group"), ("CreateLaunchTemplate", "launch-template"),
        ("CreateFleet", "fleet"),
    ):  # fmt: skip
        [words] = aws.of(call)
        assert words["TagSpecifications"] == [{"ResourceType": kind, "Tags": want}]
    marks = aws.of("CreateLaunchTemplate")[0]["LaunchTemplateData"]["TagSpecifications"]
    assert {one["ResourceType"] for one in marks} == {
        "instance", "volume", "network-interface", "spot-instances-request",
    }  # fmt: skip
    assert all(one["Tags"] == want for one in marks)


def test_every_machine_ends_with_its_power_and_keeps_its_metadata_from_containers() -> None:
    data = template_data(REQUEST, "spot", b"user data", "sg-1")
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert base64.b64decode(data["UserData"]) == b"user data"
    [disk] = data["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/sda1"
    assert disk["Ebs"] == {"VolumeSize": 100, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    assert "IamInstanceProfile" not in data


def test_each_new_volume_comes_and_goes_with_the_machine_and_one_that_is_there_does_not() -> None:
    """Also one that is to be kept: a client that is killed leaves a machine with all that is its own."""
    volumes = (DataVolume("data", 200), DataVolume("old", 80), DataVolume("scratch", 50, keep=False))
    data = template_data(dataclasses.replace(REQUEST, volumes=volumes, there=("old",)), "spot", b"", "sg-1")
    assert [(one["DeviceName"], one["Ebs"]["VolumeSize"]) for one in data["BlockDeviceMappings"]] == [
        ("/dev/sda1", 100), ("/dev/sdf", 200), ("/dev/sdh", 50),
    ]  # fmt: skip
    assert all(one["Ebs"]["DeleteOnTermination"] and one["Ebs"]["Encrypted"] for one in data["BlockDeviceMappings"])
    assert parse_volumes("data:200,scratch:50:delete") == (volumes[0], volumes[2])
    assert parse_volumes("") == ()


def test_an_on_demand_machine_has_no_spot_request_to_tag() -> None:
    marks = template_data(REQUEST, "on-demand", b"", "sg-1")["TagSpecifications"]
    assert "spot-instances-request" not in {one["ResourceType"] for one in marks}


def test_each_offer_is_an_override_with_the_price_limit_of_spot_alone() -> None:
    limited = dataclasses.replace(REQUEST, max_price=4.00009)
    words = fleet_words(limited, "spot", "template", "token")
    [config] = words["LaunchTemplateConfigs"]
    assert config["Overrides"] == [
        {"InstanceType": "p3.8xlarge", "SubnetId": "subnet-a", "MaxPrice": "4.0000"},
        {"InstanceType": "g4dn.12xlarge", "SubnetId": "subnet-b", "MaxPrice": "3.9100"},  # no more than on demand
    ]
    whatever = fleet_words(REQUEST, "spot", "template", "token")["LaunchTemplateConfigs"][0]["Overrides"]
    assert [one["MaxPrice"] for one in whatever] == ["12.2400", "3.9100"]
    unknown = dataclasses.replace(REQUEST, offers=(Offer(V100, "us-east-1a", "subnet-a", 3.5),))
    assert (
        "MaxPrice" not in fleet_words(unknown, "spot", "template", "token")["LaunchTemplateConfigs"][0]["Overrides"][0]
    )
    assert words["SpotOptions"]["AllocationStrategy"] == "price-capacity-optimized"
    assert words["Type"] == "instant"
    plain = fleet_words(limited, "on-demand", "template", "token")
    assert all("MaxPrice" not in one for one in plain["LaunchTemplateConfigs"][0]["Overrides"])
    assert "SpotOptions" not in plain


def test_ssh_is_let_in_from_the_callers_address_and_with_ssm_from_nowhere(clock: Clock) -> None:
    aws = table()
    launch(aws, clock)
    [rule] = aws.of("AuthorizeSecurityGroupIngress")[0]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert [one["CidrIp"] for one in rule["IpRanges"]] == ["192.0.2.1/32"]
    quiet = table()
    launch(quiet, clock, dataclasses.replace(REQUEST, via="ssm", address=""))
    assert quiet.of("AuthorizeSecurityGroupIngress") == []


def test_what_an_earlier_try_made_is_as_good(clock: Clock) -> None:
    aws = table(
        CreateSecurityGroup=Refused("InvalidGroup.Duplicate"),
        DescribeSecurityGroups={"SecurityGroups": [{"GroupId": "sg-old"}]},
        AuthorizeSecurityGroupIngress=Refused("InvalidPermission.Duplicate"),
        CreateLaunchTemplate=Refused("InvalidLaunchTemplateName.AlreadyExistsException"),
    )
    assert launch(aws, clock).id == "i-1"
    assert aws.of("AuthorizeSecurityGroupIngress")[0]["GroupId"] == "sg-old"


@pytest.mark.parametrize(
    "trouble",
    [
        Refused("RequestLimitExceeded"), Refused("InternalError"),
        Refused("InvalidLaunchTemplateName.NotFoundException"),
        ConnectionClosedError(endpoint_url="https://ec2"),
    ],
)  # fmt: skip
def test_a_trouble_that_passes_is_asked_again_with_the_same_token(clock: Clock, trouble: Exception) -> None:
    aws = table(CreateFleet=[trouble, trouble, given])
    assert launch(aws, clock).id == "i-1"
    assert [words["ClientToken"] for words in aws.of("CreateFleet")] == [REQUEST.token] * 3


def test_throttling_has_an_end(clock: Clock) -> None:
    with pytest.raises(ThrottledError) as refused:
        launch(table(CreateFleet=Refused("RequestLimitExceeded")), clock)
    assert refused.value.mend
    assert 30 <= clock.now <= 40


def test_an_answer_that_holds_a_passing_refusal_is_asked_again_with_another_token(clock: Clock) -> None:
    """The same token would give the same answer; this one says that nothing was launched."""
    aws = table(CreateFleet=[refusals("RequestLimitExceeded", "InsufficientInstanceCapacity"), given])
    assert launch(aws, clock).id == "i-1"
    tokens = [words["ClientToken"] for words in aws.of("CreateFleet")]
    assert tokens == [REQUEST.token, f"{REQUEST.token}-1"]
    with pytest.raises(ThrottledError):
        launch(table(CreateFleet=refusals("RequestLimitExceeded")), clock)


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("InsufficientInstanceCapacity", "InsufficientInstanceCapacity"), CapacityError),
        (("UnfulfillableCapacity",), CapacityError),
        (("InsufficientFreeAddressesInSubnet", "Unsupported"), CapacityError),
        ((), CapacityError),
        (("InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded"), QuotaError),
        (("VcpuLimitExceeded", "UnauthorizedOperation"), AuthError),
        (("SpotMaxPriceTooLow", "InsufficientInstanceCapacity"), PriceError),
        (("Unsupported", "InvalidFleetConfiguration"), NotOfferedError),
        (("InsufficientInstanceCapacity", "InvalidParameterCombination"), UnsupportedError),
        (("InsufficientInstanceCapacity", "SomethingNew"), CloudError),
    ],
)
def test_the_offers_refusals_have_one_meaning(codes: tuple[str, ...], kind: type[ProvisionError]) -> None:
    error = verdict(refusals(*codes)["Errors"], REQUEST, "spot")
    assert type(error) is kind
    assert error.mend or kind is CloudError


def test_no_capacity_names_the_types_the_zones_and_the_ways_out(clock: Clock) -> None:
    with pytest.raises(CapacityError) as refused:
        launch(table(CreateFleet=refusals("InsufficientInstanceCapacity", "InsufficientInstanceCapacity")), clock)
    assert refused.value.what == "no spot p3.8xlarge or g4dn.12xlarge is free now in us-east-1a, us-east-1b"
    assert "--fallback on-demand" in refused.value.mend
    assert clock.now == 0.0  # a lack of capacity is not waited for


def test_without_spot_capacity_it_falls_back_on_demand_if_that_was_asked_for(clock: Clock) -> None:
    aws = table(CreateFleet=[refusals("InsufficientInstanceCapacity"), given])
    said: list[str] = []
    instance = launch(aws, clock, dataclasses.replace(REQUEST, fallback=True), said)
    assert instance.market == "on-demand"
    spot, plain = aws.of("CreateFleet")
    assert plain["TargetCapacitySpecification"]["DefaultTargetCapacityType"] == "on-demand"
    assert plain["ClientToken"] == f"{REQUEST.token}-on-demand"
    names = [
        words["LaunchTemplateConfigs"][0]["LaunchTemplateSpecification"]["LaunchTemplateName"]
        for words in (spot, plain)
    ]
    assert names == [words["LaunchTemplateName"] for words in aws.of("CreateLaunchTemplate")]
    assert len(set(names)) == 2
    assert any("asking for on-demand" in line for line in said)


@pytest.mark.parametrize("code", ["MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow", "UnauthorizedOperation"])
def test_what_is_no_lack_of_capacity_does_not_fall_back(clock: Clock, code: str) -> None:
    aws = table(CreateFleet=refusals(code))
    with pytest.raises(ProvisionError):
        launch(aws, clock, dataclasses.replace(REQUEST, fallback=True))
    assert len(aws.of("CreateFleet")) == 1


def test_two_launches_of_one_request_ask_for_the_same(clock: Clock) -> None:
    """What makes a crashed launch the same launch: every call is the same to the letter."""
    first = table()
    launch(first, clock)
    second = table()
    launch(second, clock)
    assert first.calls
    assert sorted(map(repr, first.calls)) == sorted(map(repr, second.calls))


# what comes after


def running(**more: Any) -> dict[str, Any]:
    row = {
        "InstanceId": "i-1", "State": {"Name": "running"}, "InstanceType": "p3.8xlarge", "LaunchTime": NOW,
        "Placement": {"AvailabilityZone": "us-east-1a"}, "PublicIpAddress": "192.0.2.9",
        "Tags": [{"Key": key, "Value": value} for key, value in TAGS.items()], **more,
    }  # fmt: skip
    return {"Reservations": [{"Instances": [row]}]}


def machine() -> Instance:
    return Instance("i-1", "lab", "running", "p3.8xlarge", "us-east-1a", "spot", "192.0.2.9", NOW, TAGS)


def test_a_fresh_instance_may_be_unknown_for_a_while(clock: Clock) -> None:
    pending = running(State={"Name": "pending"}, PublicIpAddress="")
    aws = Aws(DescribeInstances=[Refused("InvalidInstanceID.NotFound"), {"Reservations": []}, pending, running()])
    assert Ec2(aws.cloud, clock.sleep).wait_running(machine()).address == "192.0.2.9"
    assert clock.now == 3.0  # one look a second
    lost = Aws(DescribeInstances=Refused("InvalidInstanceID.NotFound"))
    with pytest.raises(CloudError):
        Ec2(lost.cloud, clock.sleep).wait_running(machine())
    assert 30 <= clock.now - 3 <= 33


def test_the_role_is_waited_for_and_one_that_is_there_is_as_good(clock: Clock) -> None:
    fresh = Refused("InvalidParameterValue", "Invalid IAM Instance Profile name")
    aws = Aws(AssociateIamInstanceProfile=[fresh, Refused("IncorrectInstanceState"), {}])
    Ec2(aws.cloud, clock.sleep).associate("i-1", "profile")
    assert clock.now == 2.0
    there = Aws(AssociateIamInstanceProfile=Refused("IncorrectState", "There is an existing association for i-1"))
    Ec2(there.cloud, clock.sleep).associate("i-1", "profile")
    assert clock.now == 2.0
    with pytest.raises(CloudError):
        Ec2(Aws(AssociateIamInstanceProfile=fresh).cloud, clock.sleep).associate("i-1", "profile")
    assert 60 <= clock.now - 2 <= 63


def test_vcpus_that_run_are_counted_whosever_they_are() -> None:
    mine = running(CpuOptions={"CoreCount": 16, "ThreadsPerCore": 2}, InstanceLifecycle="spot")["Reservations"]
    theirs = running(InstanceType="g5.xlarge", Tags=[])["Reservations"]
    types = {
        "InstanceTypes": [
            {"InstanceType": "g5.xlarge", "VCpuInfo": {"DefaultVCpus": 4}, "MemoryInfo": {"SizeInMiB": 16384}}
        ]
    }
    aws = Aws(DescribeInstances={"Reservations": [*mine, *theirs]}, DescribeInstanceTypes=types)
    assert Ec2(aws.cloud).running_vcpus() == [("p3.8xlarge", "spot", 32), ("g5.xlarge", "on-demand", 4)]


def test_prices_are_the_newest_of_each_type_and_zone() -> None:
    def price(dollars: str, hour: int, kind: str = "p3.8xlarge") -> dict[str, Any]:
        at = NOW.replace(hour=hour)
        return {"SpotPrice": dollars, "Timestamp": at, "AvailabilityZone": "us-east-1a", "InstanceType": kind}

    rows = [price("3.5", 9), price("3.9", 11), price("3.1", 10), price("1.2", 8, "g4dn.12xlarge")]
    aws = Aws(DescribeSpotPriceHistory={"SpotPriceHistory": rows})
    assert Ec2(aws.cloud).spot_prices(["p3.8xlarge", "g4dn.12xlarge"]) == {
        ("p3.8xlarge", "us-east-1a"): 3.9, ("g4dn.12xlarge", "us-east-1a"): 1.2,
    }  # fmt: skip


def test_an_unknown_type_names_the_nearest() -> None:
    offered = {"InstanceTypeOfferings": [{"InstanceType": "p3.8xlarge"}, {"InstanceType": "m5.large"}]}
    aws = Aws(DescribeInstanceTypes={"InstanceTypes": []}, DescribeInstanceTypeOfferings=offered)
    assert Ec2(aws.cloud).instance_types(["p3.9xlarge"]) == {}
    with pytest.raises(NotOfferedError) as refused:
        Ec2(aws.cloud).instance_type("p3.9xlarge")
    assert "p3.8xlarge" in refused.value.mend
