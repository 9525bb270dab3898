"""What the doctor finds, and how `up --dry-run` shows what it decided."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from infra.aws import dryrun
from infra.aws.quotas import GPU_QUOTAS, quota_of, value
from infra.aws.types import DataVolume
from infra.errors import UsageError
from provision import cli
from provision.account import doctor
from provision.account.doctor import Finding
from provision.clouds import Session
from provision.commands.options import parse_minutes, parse_volume, wish_of
from provision.commands.request_table import show_request
from provision.offers.plan import plan
from provision.offers.requirements import Requirements
from provision.settings import Settings
from tests.unit.aws_region import AwsRegion, refuses, region

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
P3 = {"p3.8xlarge": ("a", "b")}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def aws() -> AwsRegion:
    """An account that may do all."""
    found = region(P3, {"p3.8xlarge": 3.67}, quota=64, running=(("p3.8xlarge", "spot"),))
    found.answers |= {action: refuses("DryRunOperation") for action in dryrun.ACTIONS}
    found.answers |= {
        "GetCallerIdentity": {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/me"},
        "ListRoles": {"Roles": []},
        "ListSchedules": {"Schedules": []},
        "ListStateMachines": {"stateMachines": []},
        "HeadBucket": {},
    }
    return found


def found(aws: AwsRegion, kind: str = "") -> dict[str, Finding]:
    """What concerns AWS; the laptop's part starts processes."""
    checks = {**doctor.there(Session(aws.cloud, Settings()), kind)}
    return {one.check: one for one in doctor._together(checks)}


def test_all_is_well(aws: AwsRegion) -> None:
    seen = found(aws, "p3.8xlarge")
    assert {one.check for one in seen.values() if one.state != "ok"} == {"boundary"}
    assert doctor.exit_code(list(seen.values())) == 0
    assert seen["network"].found == "default subnets in us-east-1a, us-east-1b, us-east-1c"
    assert seen["quota L-7212CCBC"].found == "All P4, P3 and P2 Spot Instance Requests: 32 of 64 vCPUs used"
    assert seen["machine image ubuntu-535"].found == (
        "ami-canonical for Maxwell, Pascal, Volta; driver 535 is installed at the first boot"
    )
    assert seen["bucket"].found == "provision-123456789012-us-east-1 is there"
    assert seen["p3.8xlarge"].found == "us-east-1, spot: us-east-1a $3.670/h, us-east-1b $4.037/h"
    assert all(f"ec2:{action}" in seen for action in dryrun.ACTIONS)


def test_a_missing_permission_is_named_and_decides_the_exit_code(aws: AwsRegion) -> None:
    aws.answers["TerminateInstances"] = refuses("UnauthorizedOperation")
    aws.answers["DescribeSubnets"] = {"Subnets": []}
    seen = found(aws)
    assert seen["ec2:TerminateInstances"].state == "fail"
    assert "iam-policy" in seen["ec2:TerminateInstances"].mend
    assert (seen["network"].state, seen["network"].code) == ("fail", 7)
    assert doctor.exit_code(list(seen.values())) == 3


def test_the_keeper_of_this_version_is_told(aws: AwsRegion) -> None:
    from provision.engines import definition

    assert "0 of ours, none of this version" in found(aws)["keepers"].found
    row = {"name": definition.machine_name(), "creationDate": NOW}
    aws.answers["ListStateMachines"] = {"stateMachines": [row]}
    assert "1 of ours, that of this version is there" in found(aws)["keepers"].found


def test_one_check_that_ends_with_an_error_leaves_the_others(aws: AwsRegion) -> None:
    aws.answers["ListSchedules"] = refuses("AccessDeniedException")
    seen = found(aws)
    assert (seen["schedules"].state, seen["schedules"].code) == ("fail", 3)
    assert seen["roles"].state == "ok"


def test_a_thing_that_is_not_there_is_no_refusal(aws: AwsRegion) -> None:
    aws.answers["DeleteVolume"] = refuses("InvalidVolume.NotFound")
    seen = found(aws)
    assert seen["ec2:DeleteVolume"].state == "ok"
    assert "nothing to try it on" in seen["ec2:DeleteVolume"].found


def test_a_full_quota_is_a_warning_with_its_page(aws: AwsRegion) -> None:
    aws.answers["GetServiceQuota"] = {"Quota": {"Value": 32.0}}
    seen = found(aws)["quota L-7212CCBC"]
    assert seen.state == "warn"
    assert seen.mend.endswith("/servicequotas/home/services/ec2/quotas/L-7212CCBC")
    assert doctor.exit_code([seen]) == 0


def test_without_credentials_only_this_laptop_is_looked_at(aws: AwsRegion) -> None:
    aws.answers["GetCallerIdentity"] = refuses("InvalidClientTokenId")
    [one] = doctor._guarded("credentials", lambda: doctor._credentials(aws.cloud))
    assert (one.state, one.code) == ("fail", 3)
    assert "AWS_PROFILE" in one.mend


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [(3, "ok", "3 s ahead of"), (-90, "warn", "90 s behind"), (600, "fail", "600 s ahead of")],
)
def test_a_clock_that_is_wrong(seconds: int, state: str, words: str) -> None:
    seen = doctor.clock(NOW, NOW + timedelta(seconds=seconds))
    assert seen.state == state
    assert words in seen.found
    assert bool(seen.mend) == (state != "ok")


def test_a_quota_of_its_own_goes_before_the_default(aws: AwsRegion) -> None:
    assert value(aws.cloud, "L-1") == 64
    aws.answers["GetServiceQuota"] = refuses("NoSuchResourceException")
    aws.answers["GetAWSDefaultServiceQuota"] = {"Quota": {"Value": 8.0}}
    assert value(aws.cloud, "L-1") == 8
    aws.answers["GetAWSDefaultServiceQuota"] = refuses("NoSuchResourceException")
    assert value(aws.cloud, "L-1") is None


@pytest.mark.parametrize(
    ("name", "spot", "on_demand"),
    [
        ("p3.8xlarge", "L-7212CCBC", "L-417A185B"), ("p4d.24xlarge", "L-7212CCBC", "L-417A185B"),
        ("p5.48xlarge", "L-C4BD4855", "L-417A185B"), ("p6-b200.48xlarge", None, "L-417A185B"),
        ("g4dn.xlarge", "L-3819A6DF", "L-DB2E81BA"), ("gr6.4xlarge", "L-3819A6DF", "L-DB2E81BA"),
        ("t3.large", "L-34B43A08", "L-1216C47A"), ("trn1.2xlarge", None, None),
    ],
)  # fmt: skip
def test_each_family_counts_against_its_own_quota(name: str, spot: str | None, on_demand: str | None) -> None:
    for market, code in (("spot", spot), ("on-demand", on_demand)):
        quota = quota_of(name, market)
        assert (quota and quota.code) == code
        if quota and name[0] in "pg":
            assert quota in GPU_QUOTAS


# what `up` is asked, and what it shows


def given(**words: Any) -> dict[str, Any]:
    none = dict.fromkeys(("kind", "gpus", "gpu_memory", "image", "name", "max_price", "budget", "cloud"))
    return {**none, "or_equivalent": False, "spot": True, "volumes": (), "regions": (), **words}


def test_the_wish_and_the_settings_come_out_of_the_options() -> None:
    wish, flags = wish_of(given(kind="p3.8xlarge", regions=("eu-west-1", "us-east-1"), max_price=2.0, spot=False))
    assert wish == Requirements("p3-8xlarge", "p3.8xlarge", "on-demand")
    assert flags == {
        "region": "eu-west-1", "more_regions": ("us-east-1",), "max_price": 2.0, "budget": None, "cloud": None,
    }  # fmt: skip
    by_need, flags = wish_of(given(gpus=4, gpu_memory=16.0, volumes=(DataVolume("a", 1),)))
    assert by_need == Requirements("gpus-4x16", gpus=4, gpu_memory_gb=16.0, volumes=(DataVolume("a", 1),))
    assert "region" not in flags


@pytest.mark.parametrize(("text", "minutes"), [("30", 30), ("30m", 30), ("1.5h", 90), ("2d", 2880), ("0", 0)])
def test_times(text: str, minutes: float) -> None:
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "m", "-3m", "3 weeks", "1h30m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_minutes(text)
    assert "30m" in refused.value.mend


def test_volumes() -> None:
    assert parse_volume("data:200") == DataVolume("data", 200, keep=True)
    assert parse_volume("scratch-1:50:delete") == DataVolume("scratch-1", 50, keep=False)


@pytest.mark.parametrize("text", ["data", "data:", ":3", "data:0", "data:20000", "Data:1", "a/b:1", "data:1:keep"])
def test_what_is_no_volume(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_volume(text)
    assert "data:200:delete" in refused.value.mend


def test_a_dry_run_shows_offers_prices_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    aws = region(P3, {"p3.8xlarge": 3.67})
    wish = Requirements("lab", "p3.8xlarge", volumes=(DataVolume("data", 200),))
    requests = plan(Session(aws.cloud, Settings(budget=20.0, fallback="on-demand"), lambda _: None), wish)
    show_request(requests, as_json=False)
    out = capsys.readouterr().out
    assert "p3.8xlarge in us-east-1a: $3.670/h spot; 4 × V100 16 GiB, 32 vCPUs, 244 GiB" in out
    assert "on demand where there is no capacity" in out
    assert "/volumes/data: 200 GB gp3, kept by `down`" in out
    assert "$3.670/h now, at most $12.240/h (AWS's price list of 20" in out
    assert "a public IPv4 address, $0.005/h" in out
    assert "after 24 hours, or after 30 idle minutes, or after 1.4 hours, as $20 may be spent then" in out
    assert "--max-price makes that longer" in out
    assert "NVIDIA's driver 535 installed at its first boot" in out
    show_request(requests, as_json=False, kept=True)  # by a keeper, for a training that needs no laptop
    out = capsys.readouterr().out
    assert "with the training, or after 24 hours, waiting included, or after 1.4 hours" in out
    assert "nobody logs in" in out and "idle" not in out and "becomes a machine image" not in out
    show_request(requests, as_json=False, kept=True, bakes=True)
    out = capsys.readouterr().out
    assert "the first machine with Volta GPUs becomes a machine image at its end" in out
    assert "at most $5.00 a month): --no-bake" in out
    show_request(requests, as_json=True, kept=True, bakes=True)
    [plain] = json.loads(capsys.readouterr().out)
    assert (plain["bakes"]["label"], plain["bakes"]["dollars_a_month"]) == ("provision ubuntu-535", 5.0)
    show_request(requests, as_json=True)
    [plain] = json.loads(capsys.readouterr().out)
    assert (plain["now"], plain["dearest"]) == (3.67, 12.24)
    assert plain["offers"][0]["type"]["gpus"] == 4
    assert plain["resource"] == requests[0].launch


def test_both_commands_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--help"]) == 0
    assert "--instance" in capsys.readouterr().out
    assert cli.run(["iam-policy"]) == 0
    policy: Mapping[str, Any] = json.loads(capsys.readouterr().out)
    assert policy["Version"] == "2012-10-17"
    assert cli.run(["iam-policy", "--why"]) == 0
    assert "only on what carries our tag" in capsys.readouterr().out
