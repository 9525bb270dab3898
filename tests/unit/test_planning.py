"""What is decided before the first dollar: offers, refusals with their mend, and how few calls it takes."""

import dataclasses
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from infra import laptop
from infra.aws.types import DataVolume, SpotRequest
from infra.errors import AuthError, NotOfferedError, PriceError, ProvisionError, QuotaError, UsageError
from provision.clouds import Session
from provision.offers import cache
from provision.offers.plan import plan
from provision.offers.requirements import Requirements
from provision.settings import Settings, state_home
from tests.unit.aws_region import OWN_ADDRESS, AwsRegion, refuses, region

P3 = {"p3.8xlarge": ("a", "b")}
STANDINS = {"g4dn.12xlarge": ("a", "b", "c"), "g5.12xlarge": ("a", "b"), "g6.12xlarge": ("c",)}
PRICES = {"p3.8xlarge": 3.67, "g4dn.12xlarge": 1.2, "g5.12xlarge": 2.0, "g6.12xlarge": 1.9}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def one(aws: AwsRegion, wish: Requirements, **settings: Any) -> SpotRequest:
    [request] = plan(Session(aws.cloud, Settings(**settings), lambda _: None), wish)
    return request


def refusal(aws: AwsRegion, wish: Requirements, **settings: Any) -> ProvisionError:
    with pytest.raises(ProvisionError) as refused:
        one(aws, wish, **settings)
    assert refused.value.mend
    return refused.value


def types(request: SpotRequest) -> list[str]:
    return list(dict.fromkeys(offer.type.name for offer in request.offers))


def test_a_permissions_boundary_that_is_not_there_is_told_before_anything_is_paid() -> None:
    aws, arn = region(P3, PRICES), "arn:aws:iam::111111111111:policy/gone"
    aws.answers["GetPolicy"] = refuses("NoSuchEntity")
    session = Session(dataclasses.replace(aws.cloud, boundary=arn), Settings(), lambda _: None)
    with pytest.raises(UsageError, match=f"no permissions boundary {arn}") as error:
        plan(session, Requirements("lab", "p3.8xlarge"))
    assert "iam-policy --boundary" in error.value.mend
    aws.answers["GetPolicy"] = refuses("AccessDenied")  # who may not look learns it when the role is made
    assert plan(session, Requirements("lab", "p3.8xlarge"))


def test_a_request_has_all_that_a_launch_needs() -> None:
    aws = region(P3, PRICES)
    request = one(aws, Requirements("lab", "p3.8xlarge"), max_hours=2, idle_minutes=15, disk_gb=50)
    assert [(offer.zone, offer.subnet, offer.spot) for offer in request.offers] == [
        ("us-east-1a", "subnet-a", 3.67), ("us-east-1b", "subnet-b", pytest.approx(4.037)),
    ]  # fmt: skip
    kind = request.offers[0].type
    assert (kind.gpus, kind.gpu, kind.gpu_memory_mib, kind.vcpus) == (4, "V100", 16384, 32)
    assert (request.address, request.image, request.root_device) == (OWN_ADDRESS, "ami-canonical", "/dev/sda1")
    assert (request.market, request.disk_gb, request.fallback, request.via) == ("spot", 50, False, "ssh")
    tags = request.tags
    assert tags["provision:name"] == "lab"
    assert tags["provision:resource"] == request.launch
    assert (tags["provision:driver"], tags["provision:idle"], tags["provision:price"]) == ("535", "15", "12.24")
    left = datetime.fromisoformat(tags["provision:deadline"]) - datetime.now(timezone.utc)
    assert 7100 < left.total_seconds() <= 7200
    assert "provision:budget" not in tags
    assert tags["provision:owner"] == request.owner == laptop.owner(state_home())


def test_it_takes_ten_calls_cold_and_three_warm() -> None:
    aws = region(P3 | STANDINS, PRICES)
    one(aws, Requirements("lab", "p3.8xlarge"))
    assert aws.calls.total() <= 10, aws.calls
    aws.calls.clear()
    one(aws, Requirements("lab", "p3.8xlarge"))
    # a keeper may have baked an image meanwhile
    assert dict(aws.calls) == {"DescribeInstances": 1, "DescribeSpotPriceHistory": 1, "DescribeImages": 1}


def test_an_answer_that_was_kept_is_no_reason_to_refuse() -> None:
    aws = region({}, PRICES)
    refusal(aws, Requirements("lab", "p3.8xlarge"))
    aws.answers |= region(P3, PRICES).answers
    assert types(one(aws, Requirements("lab", "p3.8xlarge"))) == ["p3.8xlarge"]


def test_a_raised_quota_is_seen_at_once() -> None:
    aws = region(P3, PRICES, quota=0)
    assert isinstance(refusal(aws, Requirements("lab", "p3.8xlarge")), QuotaError)
    aws.answers["GetServiceQuota"] = {"Quota": {"Value": 64.0}}
    assert one(aws, Requirements("lab", "p3.8xlarge")).offers


def test_what_is_kept_can_be_forgotten() -> None:
    aws = region(P3, PRICES)
    one(aws, Requirements("lab", "p3.8xlarge"))
    assert cache.forget(aws.cloud)
    assert not cache.forget(aws.cloud)
    aws.calls.clear()
    one(aws, Requirements("lab", "p3.8xlarge"))
    assert aws.calls["DescribeSubnets"] == 1


def test_a_damaged_file_of_the_cache_is_asked_again(tmp_path: Path) -> None:
    aws = region(P3, PRICES)
    one(aws, Requirements("lab", "p3.8xlarge"))
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert one(aws, Requirements("lab", "p3.8xlarge")).offers


def test_a_retired_type_names_its_stand_ins_with_todays_price() -> None:
    said = refusal(region(STANDINS, PRICES), Requirements("lab", "p3.8xlarge"))
    assert isinstance(said, NotOfferedError)
    assert said.what == "p3.8xlarge is not offered in us-east-1"
    assert said.mend == (
        "take --or-equivalent, or one of its stand-ins: g4dn.12xlarge (4 × T4 16 GiB, $1.200/h), "
        "g6.12xlarge (4 × L4 22 GiB, $1.900/h), g5.12xlarge (4 × A10G 22 GiB, $2.000/h)"
    )


def test_a_mistyped_type_names_the_nearest() -> None:
    said = refusal(region(P3, PRICES), Requirements("lab", "p3.9xlarge"))
    assert isinstance(said, NotOfferedError)
    assert said.what == "there is no instance type 'p3.9xlarge' in us-east-1"
    assert "p3.8xlarge" in said.mend


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("g5g.xlarge", "ARM"),
        ("t4g.large", "ARM"),
        ("g4ad.xlarge", "AMD"),
        ("dl1.24xlarge", "Gaudi"),
        ("p6e-gb200.36xlarge", "arm64"),
        ("trn1.2xlarge", "Trainium"),
        ("inf2.xlarge", "Inferentia"),
    ],
)
def test_a_machine_that_no_image_of_ours_starts_on_is_refused(kind: str, words: str) -> None:
    said = refusal(region({kind: ("a",)}, {kind: 0.1}), Requirements("lab", kind))
    assert isinstance(said, NotOfferedError)
    assert words in said.what


def test_or_equivalent_offers_stand_ins_of_one_machine_image_the_cheapest_first() -> None:
    aws = region(STANDINS, PRICES)
    request = one(aws, Requirements("lab", "p3.8xlarge", or_equivalent=True))
    assert types(request) == ["g4dn.12xlarge", "g6.12xlarge", "g5.12xlarge"]
    assert len(request.offers) == 6
    assert request.image == "ami-deeplearning"
    assert "provision:driver" not in request.tags


def test_a_stand_in_with_another_machine_image_is_left_out() -> None:
    request = one(region(P3 | STANDINS, PRICES), Requirements("lab", "p3.8xlarge", or_equivalent=True))
    assert types(request) == ["p3.8xlarge"]
    assert request.image == "ami-canonical"


def test_or_equivalent_takes_only_what_the_image_supports() -> None:
    old = Requirements("lab", "p3.8xlarge", or_equivalent=True, image="caffe:cuda10.2-cudnn8.6-ubuntu18.04")
    assert types(one(region(STANDINS, PRICES), old)) == ["g4dn.12xlarge"]  # the A10G and the L4 need CUDA 11


def test_by_need_the_cheapest_first_and_nothing_that_costs_a_multiple() -> None:
    offered = {"g4dn.12xlarge": ("a",), "g5.12xlarge": ("a",), "g6e.12xlarge": ("a",)}
    prices = {"g4dn.12xlarge": 1.0, "g5.12xlarge": 0.9, "g6e.12xlarge": 4.0}
    request = one(region(offered, prices), Requirements("lab", gpus=4, gpu_memory_gb=16))
    assert types(request) == ["g5.12xlarge", "g4dn.12xlarge"]


def test_a_need_that_nothing_meets_names_the_most() -> None:
    said = refusal(region({}, {}), Requirements("lab", gpus=9, gpu_memory_gb=80))
    assert isinstance(said, UsageError)
    assert "9 GPUs of at least 80 GB each" in said.what
    assert "8 × " in said.mend


@pytest.mark.parametrize(
    ("image", "kind", "words"),
    [
        ("caffe:cuda10.2-cudnn8.6-ubuntu18.04", "g6.12xlarge", "CUDA 10.2 is too old for the L4"),
        ("caffe:cuda12.2-cudnn8.9-ubuntu22.04", "p2.xlarge", "runs on the K80"),
        ("caffe:cuda13.0-cudnn9.14-ubuntu22.04", "p3.8xlarge", "runs on the V100"),
        ("cuda", "g6f.large", "GRID driver"),
        ("caffe-debian", "p3.8xlarge", "Caffe, and it does so for CPUs only leave --image out"),
        ("caffe-debian:cpu-debian11", "p3.8xlarge", "leave --image out: the image needs no GPU"),
        ("caffe:cpu-debian12", "p3.8xlarge", "runs on the V100: it has no CUDA take caffe:cuda11.8-cudnn8.7-debian12"),
        ("caffe:cuda11.8-cudnn8.7-debian12@T4", "p3.8xlarge", "no code for the V100"),
        ("caffe:cuda11.8-cudnn8.7-debian12", "t3.large", "t3.large has none"),
    ],
)
def test_an_image_that_cannot_run_there_is_refused_before_the_first_dollar(image: str, kind: str, words: str) -> None:
    aws = region({kind: ("a",)}, {kind: 1.0})
    row = {"InstanceType": "t3.large", "VCpuInfo": {"DefaultVCpus": 2}, "MemoryInfo": {"SizeInMiB": 8192}}
    aws.answers["DescribeInstanceTypes"] = {"InstanceTypes": [row]}
    said = refusal(aws, Requirements("lab", kind, image=image))
    assert isinstance(said, UsageError)
    assert words in f"{said.what} {said.mend}"


def test_an_image_that_runs_there_is_taken() -> None:
    wish = Requirements("lab", "p3.8xlarge", image="caffe:cuda11.8-cudnn8.7-debian12")
    assert one(region(P3, PRICES), wish).offers


def test_an_image_is_held_against_the_driver_that_the_machine_image_has_today() -> None:
    wish = Requirements("lab", "p6-b200.48xlarge", image="caffe:cuda13.0-cudnn9.14-ubuntu22.04")
    aws = region({"p6-b200.48xlarge": ("a",)}, {"p6-b200.48xlarge": 40.0})
    assert one(aws, wish).image == "ami-deeplearning"
    old = region({"p6-b200.48xlarge": ("a",)}, {"p6-b200.48xlarge": 40.0})
    cache.forget(old.cloud)
    name = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20250505"
    newest = {"ImageId": "ami-deeplearning", "RootDeviceName": "/dev/sda1", "Name": name}
    old.answers["DescribeImages"] = lambda words: {"Images": [newest] if "ImageIds" in words else []}
    taken = Requirements("lab", "p6-b200.48xlarge", image="caffe:cuda13.0-cudnn9.14-ubuntu22.04@B200")
    assert one(old, taken).offers  # R570 is one of those that the base lets in
    debian = Requirements("lab", "p6-b200.48xlarge", image="cuda:cuda12.4-cudnn9.1-debian13")
    assert "CUDA 12.4 is too old for the B200" in refusal(old, debian).what


def test_reading_the_driver_takes_no_call_more() -> None:
    aws = region(P3, PRICES)
    one(aws, Requirements("lab", "p3.8xlarge", image="caffe:cuda11.8-cudnn8.7-debian12"))
    assert aws.calls.total() <= 10, aws.calls


def test_a_share_of_a_gpu_is_rented_with_a_machine_image_of_the_users_own() -> None:
    wish = Requirements("lab", "g6f.large", image="cuda:cuda11.8-cudnn8.7-debian12")
    aws = region({"g6f.large": ("a",)}, {"g6f.large": 0.1})
    request = one(aws, wish, amis={"vGPU": "ami-grid"})
    assert (request.image, request.offers[0].type.gpus) == ("ami-grid", 1)
    assert "GRID driver" in refusal(aws, Requirements("lab", "g6f.large")).what


def test_the_quota_less_what_runs_has_to_do() -> None:
    running = (("p3.8xlarge", "spot"), ("g5.12xlarge", "spot"), ("p3.8xlarge", ""))
    said = refusal(region(P3, PRICES, quota=63, running=running), Requirements("lab", "p3.8xlarge"))
    assert isinstance(said, QuotaError)
    assert said.what == (
        "p3.8xlarge needs 32 vCPUs, and us-east-1 has 31 left of the 63 of its quota "
        "All P4, P3 and P2 Spot Instance Requests (L-7212CCBC)"
    )
    assert "console.aws.amazon.com/servicequotas" in said.mend
    assert one(region(P3, PRICES, quota=64, running=running), Requirements("lab", "p3.8xlarge")).offers


def test_a_quota_that_we_may_not_read_is_no_refusal() -> None:
    aws = region(P3, PRICES)
    aws.answers["GetServiceQuota"] = refuses("AccessDeniedException")
    assert one(aws, Requirements("lab", "p3.8xlarge")).offers


def test_a_spot_price_above_the_limit_is_refused_with_one_that_would_do() -> None:
    said = refusal(region(P3, PRICES), Requirements("lab", "p3.8xlarge"), max_price=1.0)
    assert isinstance(said, PriceError)
    assert "$3.670" in said.what
    assert "--max-price 4.04" in said.mend
    request = one(region(P3, PRICES), Requirements("lab", "p3.8xlarge"), max_price=3.9)
    assert [offer.zone for offer in request.offers] == ["us-east-1a"]  # the other zone costs more
    assert one(region(P3, PRICES), Requirements("lab", "p3.8xlarge", "on-demand"), max_price=1.0).max_price is None


def test_falling_back_needs_the_quota_for_it() -> None:
    aws = region(P3, PRICES)
    wish = Requirements("lab", "p3.8xlarge")
    falls = one(aws, wish, fallback="on-demand")
    assert (falls.fallback, falls.tags["provision:fallback"]) == (True, "on-demand")
    low = region(P3, PRICES)
    cache.forget(low.cloud)
    quotas = {"L-7212CCBC": 64.0, "L-417A185B": 0.0}
    low.answers["GetServiceQuota"] = lambda words: {"Quota": {"Value": quotas[words["QuotaCode"]]}}
    said: list[str] = []
    [request] = plan(Session(low.cloud, Settings(fallback="on-demand"), said.append), wish)
    assert not request.fallback
    assert said == ["no falling back on demand in us-east-1: the quota for it has no room"]
    quotas["L-417A185B"] = 64.0
    assert one(low, wish, fallback="on-demand").fallback


def test_a_zone_that_took_a_machine_is_left_out_where_there_is_another() -> None:
    wish = Requirements("lab", "p3.8xlarge", avoid="us-east-1a")
    assert [offer.zone for offer in one(region(P3, PRICES), wish).offers] == ["us-east-1b"]
    assert one(region({"p3.8xlarge": ("a",)}, PRICES), wish).offers


def test_regions_are_tried_in_order_and_one_that_cannot_serve_is_left_out() -> None:
    here = region({}, PRICES)
    region(P3, PRICES, name="eu-west-1")
    said: list[str] = []
    settings = Settings(more_regions=("eu-west-1", "us-east-1"))
    found = plan(Session(here.cloud, settings, said.append), Requirements("lab", "p3.8xlarge"))
    assert [request.region for request in found] == ["eu-west-1"]
    assert said == ["left out: p3.8xlarge is not offered in us-east-1"]
    here.answers |= region(P3, PRICES).answers
    found = plan(Session(here.cloud, settings, said.append), Requirements("lab", "p3.8xlarge"))
    assert [request.region for request in found] == ["us-east-1", "eu-west-1"]
    assert len({request.token for request in found}) == 2


def test_no_machine_image_is_a_refusal_with_a_mend() -> None:
    aws = region(P3, PRICES)
    aws.answers["GetParameter"] = refuses("ParameterNotFound")
    said = refusal(aws, Requirements("lab", "p3.8xlarge"))
    assert isinstance(said, NotOfferedError)
    assert "amis" in said.mend


def test_credentials_that_are_refused_are_said_as_that() -> None:
    aws = region(P3, PRICES)
    aws.answers["DescribeInstanceTypeOfferings"] = refuses("AuthFailure")
    assert isinstance(refusal(aws, Requirements("lab", "p3.8xlarge")), AuthError)


def test_a_kept_volume_decides_the_zone() -> None:
    aws = region(P3, PRICES)
    tags = [{"Key": "provision:keep", "Value": "data"}]
    kept = {"VolumeId": "vol-1", "AvailabilityZone": "us-east-1b", "Tags": tags}
    aws.answers["DescribeVolumes"] = {"Volumes": [kept]}
    wish = Requirements("lab", "p3.8xlarge", volumes=(DataVolume("data", 200), DataVolume("more", 50)))
    request = one(aws, wish)
    assert request.there == ("data",)
    assert [offer.zone for offer in request.offers] == ["us-east-1b"]
    assert request.tags["provision:volumes"] == "data:200,more:50"
    aws.answers["DescribeVolumes"] = {"Volumes": [{**kept, "AvailabilityZone": "us-east-1c"}]}
    assert "data in us-east-1c" in refusal(aws, wish).what
    aws.answers["DescribeVolumes"] = {"Volumes": [kept, {**kept, "VolumeId": "vol-2"}]}
    assert "there are 2 kept volumes data: vol-1, vol-2" in refusal(aws, wish).what


def test_a_volume_that_goes_with_its_machine_is_never_a_kept_one_of_that_name() -> None:
    aws = region(P3, PRICES)
    tags = [{"Key": "provision:keep", "Value": "data"}]
    aws.answers["DescribeVolumes"] = {
        "Volumes": [{"VolumeId": "vol-1", "AvailabilityZone": "us-east-1b", "Tags": tags}]
    }
    request = one(aws, Requirements("lab", "p3.8xlarge", volumes=(DataVolume("data", 200, keep=False),)))
    assert request.there == ()
    assert len(request.offers) > 1


def test_a_budget_ends_the_machine_and_one_of_minutes_is_a_slip() -> None:
    aws = region(P3, PRICES)
    request = one(aws, Requirements("lab", "p3.8xlarge"), budget=24.52)
    left = datetime.fromisoformat(request.tags["provision:deadline"]) - datetime.now(timezone.utc)
    assert left.total_seconds() / 60 == pytest.approx(2 * 60 - 11, abs=1)  # at the price on demand, not today's
    request = one(aws, Requirements("lab", "p3.8xlarge"), budget=24.52, max_price=6.0)
    left = datetime.fromisoformat(request.tags["provision:deadline"]) - datetime.now(timezone.utc)
    assert left.total_seconds() / 60 == pytest.approx(24.52 / 6.0161 * 60 - 11, abs=1)
    said = refusal(aws, Requirements("lab", "p3.8xlarge"), budget=4.5)
    assert isinstance(said, UsageError)
    assert said.what == (
        "a budget of $4.5 pays for 11 minutes of up to 12.26 $/h, and for the 11 that its end may take"
    )
    assert "--max-price" in said.mend


@pytest.mark.parametrize(
    ("wish", "settings", "words"),
    [
        (Requirements("lab"), {}, "say what to rent"),
        (Requirements("lab", "p3.8xlarge", gpus=2), {}, "say what to rent"),
        (Requirements("a b", "p3.8xlarge"), {}, "cannot name a machine"),
        (Requirements("lab", "p3.8xlarge"), {"max_hours": 0}, "max_hours is 0"),
        (Requirements("lab", "p3.8xlarge"), {"max_hours": 9000}, "max_hours is 9000"),
        (Requirements("lab", "p3.8xlarge"), {"budget": -1}, "budget is -1"),
        (Requirements("lab", "p3.8xlarge"), {"max_price": 0}, "max_price is 0"),
        (
            Requirements("lab", "p3.8xlarge"),
            {"max_hours": 1, "keep_on_error_minutes": 61},
            "keep_on_error_minutes is 61",
        ),
        (Requirements("lab", "p3.8xlarge"), {"idle_minutes": -1}, "idle_minutes is -1"),
        (Requirements("lab", "p3.8xlarge"), {"fallback": "yes"}, "fallback is 'yes'"),
        (Requirements("lab", "p3.8xlarge"), {"via": "telnet"}, "via is 'telnet'"),
    ],
)
def test_nonsense_is_refused_without_a_call(wish: Requirements, settings: dict[str, Any], words: str) -> None:
    aws = region(P3, PRICES)
    said = refusal(aws, wish, **settings)
    assert isinstance(said, UsageError)
    assert words in said.what
    assert aws.calls.total() == 0
