"""What has no living owner: the verdict on each thing, and its mending."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from click.testing import CliRunner

from infra.aws.resources import KINDS, Holding
from infra.errors import AuthError, LeftoverError
from provision import clouds, settings
from provision.account import audit
from provision.account.audit import judge
from provision.cli import cli
from provision.machines import journal
from provision.offers import cache
from tests.unit.fake_aws import CLOUD, LAUNCHED, FakeAws, Refused, Region, machine, tags

NOW = LAUNCHED + timedelta(hours=1)
LAUNCH = Region.LAUNCH
ENDS = {"provision:deadline": (NOW + timedelta(hours=1)).isoformat(), "provision:price": "12.5"}


def thing(kind: str, **more: Any) -> Holding:
    given = {"name": "lab", "launch": LAUNCH, "made": LAUNCHED, **more}
    return Holding(kind, given.pop("id", "x"), **given)


def verdicts(*things: Holding, noted: dict[str, Any] | None = None) -> list[str]:
    return [one.verdict for one in judge("us-east-1", things, noted or {}, NOW)]


ALIVE = thing("instances", id="i-1", state="running", tags=ENDS)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (thing("instances", state="running"), "no deadline"),
        (thing("instances", state="running", tags={"provision:deadline": LAUNCHED.isoformat()}), "deadline was"),
        (thing("instances", state="stopped", tags=ENDS), "stopped"),
        (thing("volumes", state="available", gb=100), "attached to nothing"),
        (thing("elastic IPs", state="unattached"), "attached to nothing"),
        (thing("spot requests", state="open"), "no machine of that launch"),
    ],
)
def test_what_is_billed_without_an_owner_is_an_orphan(one: Holding, why: str) -> None:
    (found,) = judge("us-east-1", [one], {}, NOW)
    assert found.verdict == "orphan"
    assert why in found.why


def baked(state: str = "available", id: str = "ami-1", snapshot: str = "snap-1", **marks: str) -> Holding:
    row = {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}, {"DeviceName": "/a"}]}
    made = {"provision:baked": "Volta", **{f"provision:{key}": value for key, value in marks.items()}}
    return thing("machine images", id=id, state=state, kept=True, launch="", tags=made, row=row)


SNAPSHOT = thing("snapshots", id="snap-1", kept=True, launch="", gb=100)
GOES_ON = thing("kept runs", id="digits-1", launch="")


def test_a_baked_image_and_its_snapshot_are_kept() -> None:
    assert verdicts(baked(), SNAPSHOT) == ["kept"] * 2
    assert verdicts(baked(driver="535", run="r"), SNAPSHOT) == ["kept"] * 2
    assert verdicts(baked("pending", snapshot="later"), SNAPSHOT) == ["kept"] * 2


def test_what_is_left_of_an_image_is_billed_for_nothing() -> None:
    assert verdicts(SNAPSHOT) == ["orphan"]
    assert verdicts(baked("failed"), SNAPSHOT) == ["stray", "kept"], "it goes with its image"
    young = replace(SNAPSHOT, made=NOW - timedelta(minutes=5))
    assert verdicts(young) == ["new"]
    [found] = judge("us-east-1", [SNAPSHOT], {}, NOW)
    assert found.why == "no machine image has it" and found.price
    assert [one.verdict for one in judge("us-east-1", [SNAPSHOT], {}, NOW, seen=False)] == ["kept"]


def test_an_image_with_a_driver_of_before_goes_once_no_run_may_start_from_it() -> None:
    old = baked(driver="470", run="digits-1")
    assert verdicts(old, SNAPSHOT) == ["stray", "kept"]
    assert "its driver is 470, and machines get 535" in judge("us-east-1", [old], {}, NOW)[0].why
    assert verdicts(old, SNAPSHOT, GOES_ON)[:2] == ["kept"] * 2
    assert verdicts(baked(driver="470"), SNAPSHOT) == ["kept"] * 2, "a person made it"


@pytest.mark.parametrize(
    "kind", ["security groups", "launch templates", "key pairs", "schedules", "roles", "instance profiles"]
)
def test_what_is_free_without_an_owner_is_a_stray(kind: str) -> None:
    assert verdicts(thing(kind)) == ["stray"]
    assert verdicts(ALIVE, thing(kind)) == ["", ""]
    assert verdicts(ALIVE, thing(kind, launch="provision-lab-89abcdef")) == ["", "stray"]


def test_what_a_living_machine_holds_is_in_order() -> None:
    held = [
        thing("volumes", state="in-use", instance="i-1"),
        thing("network interfaces", state="in-use", instance="i-1"),
        thing("spot requests", state="active", instance="i-1"),
    ]
    assert verdicts(ALIVE, *held) == ["", "", "", ""]


def test_a_spot_request_whose_machine_is_gone_is_a_stray() -> None:
    assert verdicts(thing("spot requests", state="active", instance="i-gone")) == ["stray"]


def test_what_is_kept_on_purpose_is_in_order() -> None:
    assert verdicts(thing("volumes", state="available", kept=True), thing("machine images", kept=True)) == ["kept"] * 2


def test_the_deadline_has_a_grace() -> None:
    at = (NOW - timedelta(minutes=10)).isoformat()
    late = thing("instances", state="running", tags={"provision:deadline": at})
    assert verdicts(late) == [""]
    assert [one.verdict for one in judge("us-east-1", [late], {}, NOW, timedelta(0))] == ["orphan"]


def test_a_launch_in_progress_is_new_wherever_it_is_made() -> None:
    young = NOW - timedelta(minutes=5)
    assert verdicts(thing("roles", made=None), thing("launch templates", made=young)) == ["new", "new"]
    assert verdicts(thing("volumes", state="available", launch="", made=young)) == ["new"]
    assert verdicts(thing("security groups", made=None), noted={LAUNCH: young}) == ["new"]
    assert verdicts(thing("security groups", made=None), noted={LAUNCH: LAUNCHED}) == ["stray"]


def test_what_each_costs_an_hour() -> None:
    prices = [one.price for one in judge("us-east-1", [ALIVE, thing("volumes", gb=720), thing("roles")], {}, NOW)]
    assert prices == [12.505, pytest.approx(0.08), 0.0]  # with its public address
    assert judge("us-east-1", [thing("instances", tags={})], {}, NOW)[0].price is None


def test_notes_of_launches_are_read_and_broken_ones_passed_over() -> None:
    FakeAws()
    for name, text in (
        ("lab", json.dumps({"time": NOW.timestamp(), "request": {"name": "lab", "token": "0123456789"}})),
        ("half", '{"time": 1'),
    ):
        place = journal.folder(CLOUD, name)
        place.mkdir(parents=True)
        (place / "intent.json").write_text(text)
    assert journal.launches(CLOUD) == {LAUNCH: NOW}


def test_where_to_look() -> None:
    FakeAws()
    journal.folder(CLOUD, "lab").mkdir(parents=True)
    chosen = settings.Settings(more_regions=("us-west-2", "us-east-1"))
    assert audit.regions(CLOUD, chosen) == ["us-east-1", "us-west-2"]
    aws = FakeAws(DescribeRegions={"Regions": [{"RegionName": "b"}, {"RegionName": "a"}]})
    assert audit.regions(aws.cloud, chosen, every=True) == ["a", "b"]


def orphaned() -> Region:
    """The machine is gone, and its things are left."""
    aws = Region()
    aws._terminate({"InstanceIds": ["i-1"]})
    return aws


def test_fixing_ends_what_has_no_owner_and_nothing_else() -> None:
    aws = orphaned()
    report = audit.audit(aws.cloud, ["us-east-1"])
    assert {one.thing.id for one in report.bad} == aws.left() - {"vol-2"}
    ended, after = audit.fix(aws.cloud, report)
    assert {one.thing.id for one in ended} == {one.thing.id for one in report.bad}
    assert not after.bad
    assert aws.left() == {"vol-2"}


def test_fixing_an_orphan_instance_takes_its_launch_along() -> None:
    aws = Region()  # its deadline has passed long ago, as today is later
    aws.machines["i-1"]["Tags"] = tags(name="lab", resource=LAUNCH)
    _, after = audit.fix(aws.cloud, audit.audit(aws.cloud, ["us-east-1"]))
    assert not after.bad
    assert aws.left() == {"vol-2"}


def test_a_region_that_cannot_be_looked_at_is_not_clean() -> None:
    aws = FakeAws(DescribeVolumes=Refused("UnauthorizedOperation"))
    report = audit.audit(aws.cloud, ["us-east-1"])
    assert not report.bad
    assert report.errors[0][0] == "us-east-1"
    assert isinstance(report.errors[0][1], AuthError)


OVER = "provision-data-2026-11-20T12.30.00Z-ab12"
HOLDS = "provision-data-2999-01-01T00.00.00Z-ab12"
RUN = "data-20261120-120000-ab12"  # of a run of a recipe that is called data


@pytest.mark.parametrize(
    ("policy", "verdict", "why"),
    [
        (OVER, "stray", "it held until 2026-11-20 12:30 UTC"), (HOLDS, "", ""), ("data-01234567", "stray", "no end"),
    ],
)  # fmt: skip
def test_a_right_to_data_is_a_stray_when_its_time_is_over(policy: str, verdict: str, why: str) -> None:
    right = thing(audit.RIGHTS, id=policy, made=None)
    found = judge("us-east-1", [thing("instances", id="i-1", state="running", tags=ENDS), right], {}, NOW)[1]
    assert found.verdict == verdict
    assert why in found.why


def living() -> Region:
    """The machine lives for years, and its role has policies of runs, of Session Manager and for data."""
    aws = Region()
    aws.machines["i-1"]["Tags"] = tags(name="lab", resource=LAUNCH, deadline="2999-01-01T00:00:00+00:00")
    policies = [OVER, HOLDS, "data-01234567", RUN, "session-manager"]
    aws.answers["ListRolePolicies"] = lambda _: {"PolicyNames": list(policies)}
    aws.answers["DeleteRolePolicy"] = lambda given: policies.remove(given["PolicyName"])
    return aws


def test_rights_that_a_killed_copy_left_are_found_on_a_living_machine_and_taken_away() -> None:
    aws = living()
    before = aws.left()
    report = audit.audit(aws.cloud, ["us-east-1"])
    assert {(finding.thing.kind, finding.thing.id, finding.thing.name) for finding in report.bad} == {
        (audit.RIGHTS, OVER, "lab"), (audit.RIGHTS, "data-01234567", "lab"),
    }  # fmt: skip
    ended, after = audit.fix(aws.cloud, report)
    assert {finding.thing.id for finding in ended} == {OVER, "data-01234567"}
    assert not after.bad
    assert aws.left() == before
    assert {given["PolicyName"] for given in aws.of("DeleteRolePolicy")} == {OVER, "data-01234567"}
    assert {given["RoleName"] for given in aws.of("DeleteRolePolicy")} == {LAUNCH}


def test_rights_that_cannot_be_seen_are_not_clean() -> None:
    aws = living()
    aws.answers["ListRolePolicies"] = Refused("AccessDenied")
    report = audit.audit(aws.cloud, ["us-east-1"])
    assert [type(error) for _, error in report.errors] == [AuthError]


def test_a_topic_that_nobody_hears_is_taken_away_and_the_others_are_kept() -> None:
    mine = "arn:aws:sns:us-east-1:111111111111:"
    heard, waits, unheard = (f"{mine}provision-{name}" for name in ("heard", "waits", "unheard"))
    rows = {heard: [{"SubscriptionArn": f"{heard}:1"}], waits: [{"SubscriptionArn": "PendingConfirmation"}]}
    there = [heard, waits, unheard, f"{mine}somebody-elses"]
    aws = living()
    aws.answers |= {
        "ListTopics": lambda _: {"Topics": [{"TopicArn": arn} for arn in there]},
        "ListSubscriptionsByTopic": lambda given: {"Subscriptions": rows.get(given["TopicArn"], [])},
        "DeleteTopic": lambda given: there.remove(given["TopicArn"]),
        "ListRolePolicies": {},
    }
    report = audit.audit(aws.cloud, ["us-east-1"])
    found = {one.thing.id: (one.thing.state, one.verdict) for one in report.findings if one.thing.kind == audit.TOPICS}
    assert found == {
        "provision-heard": ("tells", "kept"), "provision-waits": ("waits", "kept"),
        "provision-unheard": ("nobody", "stray"),
    }  # fmt: skip
    audit.fix(aws.cloud, report)
    assert there == [heard, waits, f"{mine}somebody-elses"]


def test_topics_that_cannot_be_seen_are_not_clean() -> None:
    aws = living()
    aws.answers |= {"ListTopics": Refused("AuthorizationError"), "ListRolePolicies": {}}
    report = audit.audit(aws.cloud, ["us-east-1"])
    assert [type(error) for _, error in report.errors] == [AuthError]


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "resolve", lambda _: CLOUD)


def said(*words: str) -> tuple[str, BaseException | None]:
    done = CliRunner().invoke(cli, list(words))
    return done.stdout, done.exception


@pytest.mark.usefixtures("_here")
def test_the_command_lists_and_fails_while_something_is_left() -> None:
    orphaned()
    out, error = said("audit")
    assert isinstance(error, LeftoverError)
    assert error.exit_code == 18
    assert "provision audit --fix" in error.mend
    assert "orphan: it is attached to nothing" in out
    assert "kept" in out


@pytest.mark.usefixtures("_here")
def test_json_fails_as_well_and_lists_all() -> None:
    orphaned()
    out, error = said("audit", "--json")
    assert isinstance(error, LeftoverError)
    report = json.loads(out)
    assert report["bad"] == 7
    assert {one["kind"] for one in report["findings"]} < set(KINDS)


@pytest.mark.usefixtures("_here")
def test_fixing_says_what_was_ended_and_succeeds() -> None:
    orphaned()
    out, error = said("audit", "--fix")
    assert error is None
    assert "ended volume vol-1 in us-east-1: it is attached to nothing" in out
    assert "without a living owner: 0" in out


@pytest.mark.usefixtures("_here")
def test_a_right_that_was_left_is_named_by_its_policy() -> None:
    living()
    out, error = said("audit", "--fix")
    assert error is None
    assert f"ended data right {OVER} in us-east-1: it held until 2026-11-20 12:30 UTC" in out


@pytest.mark.usefixtures("_here")
def test_an_empty_account_is_clean() -> None:
    FakeAws()
    assert said("audit") == ("nothing of ours in us-east-1\n", None)


@pytest.mark.usefixtures("_here")
def test_what_could_not_be_seen_fails() -> None:
    FakeAws(DescribeVolumes=Refused("UnauthorizedOperation"))
    _, error = said("audit")
    assert isinstance(error, AuthError)


@pytest.mark.usefixtures("_here")
def test_cost_shows_machines_and_what_is_kept() -> None:
    orphaned()
    out, error = said("cost")
    assert error is None
    assert "lab" in out
    assert "$6.00" in out
    assert "ended" in out
    assert "kept: volume data (vol-2, 200 GB, $16.00 a month)" in out


@pytest.mark.usefixtures("_here")
def test_cost_as_json() -> None:
    orphaned()
    out, _ = said("cost", "lab", "--json")
    (row,) = json.loads(out)["machines"]
    assert (row["name"], row["instance"], row["hours"]) == ("lab", 6.0, 2.0)
    assert row["left"] == pytest.approx(20 - 6 - 2 * (100 * 0.08 / 720 + 0.005), abs=0.0001)


@pytest.mark.usefixtures("_here")
def test_cost_of_a_name_that_nobody_knows() -> None:
    FakeAws()
    _, error = said("cost", "nobody")
    assert error is not None
    assert "nobody" in str(error)


@pytest.mark.usefixtures("_here")
def test_cost_counts_what_s3_keeps_of_the_runs() -> None:
    held = [stored("runs/a/log/1", 2**30), stored("images/blobs/1.gz", 2**31), stored("others/1", 2**33)]
    aws = FakeAws(
        ListObjectsV2=lambda given: {"Contents": [row for row in held if row["Key"].startswith(given["Prefix"])]}
    )
    out, _ = said("cost")
    assert "runs in S3, us-east-1: 1.1 GB, about $0.0230 a month" in out
    assert "images in S3, us-east-1: 2.1 GB, about $0.0460 a month" in out
    out, _ = said("cost", "--json")
    assert json.loads(out)["runs"] == [{"region": "us-east-1", "bytes": 2**30, "dollars_a_month": 0.023}]
    assert json.loads(out)["images"] == [{"region": "us-east-1", "bytes": 2**31, "dollars_a_month": 0.046}]
    assert {words["Prefix"] for words in aws.of("ListObjectsV2")} == {"runs/", "images/", "host/"}


@pytest.mark.usefixtures("_here")
def test_a_bucket_that_may_not_be_listed_hides_no_machine() -> None:
    aws = Region()
    aws.answers |= {"HeadBucket": {}, "ListObjectsV2": Refused("AccessDenied")}
    out, error = said("cost")
    assert error is None
    assert "p3.8xlarge" in out
    assert "$16.00 a month" in out and "in S3, us-east-1: " not in out


def test_audit_shows_what_the_images_in_s3_cost() -> None:
    held = [stored("images/blobs/1.gz", 2**31), stored("images/sha256/1.json", 2**31)]
    FakeAws(ListObjectsV2=lambda given: {"Contents": held if given["Prefix"] == "images/" else []})
    report = audit.audit(CLOUD, ["us-east-1"])
    [found] = [one for one in report.findings if one.thing.kind == audit.IMAGES]
    assert (found.thing.id, found.verdict) == ("provision-111111111111-us-east-1", "kept")
    assert found.price == pytest.approx(4 * 0.023 / 720)
    FakeAws(HeadBucket=Refused("404"))
    assert audit.audit(CLOUD, ["us-east-1"]).findings == ()
    FakeAws(ListObjectsV2=Refused("AccessDenied"))
    assert [type(error) for _, error in audit.audit(CLOUD, ["us-east-1"]).errors] == [AuthError]


def stored(key: str, size: int) -> dict[str, Any]:
    return {"Key": key, "Size": size, "ETag": '"x"', "LastModified": LAUNCHED}


@pytest.mark.usefixtures("_here")
def test_on_demand_prices_are_dated() -> None:
    row = machine("i-1", tags(name="lab"), InstanceLifecycle=None)
    FakeAws(DescribeInstances={"Reservations": [{"Instances": [row]}]})
    out, _ = said("cost")
    assert f"on demand: AWS's price list of {datetime.now(timezone.utc).date()}" in out
    FakeAws(DescribeInstances={"Reservations": [{"Instances": [row]}]}, GetProducts=Refused("AccessDeniedException"))
    cache.forget(CLOUD)
    out, _ = said("cost")
    assert "on demand: provision's own list of 20" in out
    assert "as AWS's does not tell: cannot read AWS's price list for" in out
    assert "requests, traffic and taxes are not counted" in out


# keepers

KEPT_RUN = {"provision:run": "digits-1"}
RUNNING = thing("kept runs", id="digits-1", launch="", name="")


def test_a_run_that_waits_for_a_machine_has_no_strays() -> None:
    """Its launch has no machine, and is older than the time of grace."""
    tagged = [thing("launch templates", tags=KEPT_RUN), thing("security groups", tags=KEPT_RUN)]
    others = [thing("roles"), thing("schedules"), thing("instance profiles")]  # listed without tags: by their launch
    assert verdicts(*tagged, *others, RUNNING) == [""] * 6
    assert verdicts(*tagged, *others) == ["stray"] * 5
    another = thing("kept runs", id="digits-2", launch="", name="")
    assert verdicts(*tagged, *others, another)[:5] == ["stray"] * 5


def test_a_kept_machine_past_its_end_is_an_orphan_all_the_same() -> None:
    late = thing("instances", state="running", tags={**KEPT_RUN, "provision:deadline": LAUNCHED.isoformat()})
    assert verdicts(late, RUNNING) == ["orphan", ""]


def test_keepers_are_shown_and_never_ended() -> None:
    from provision.engines import definition

    names = [definition.machine_name(), "provision-keeper-00000000", "theirs"]
    rows = [{"name": name, "creationDate": LAUNCHED} for name in names]

    def executions(given: dict[str, Any]) -> dict[str, Any]:
        current = given["stateMachineArn"].endswith(names[0])
        return {"executions": [{"name": "digits-1-2", "startDate": LAUNCHED}] if current else []}

    aws = FakeAws(ListStateMachines={"stateMachines": rows}, ListExecutions=executions)
    report = audit.audit(aws.cloud, ["us-east-1"])
    seen = [(one.thing.kind, one.thing.id, one.thing.state, one.verdict) for one in report.findings]
    assert seen == [
        ("keepers", names[0], "current", "kept"),
        ("keepers", names[1], "earlier", "kept"),
        ("kept runs", "digits-1", "going on", ""),
    ]
    assert report.bad == [] and audit.fix(aws.cloud, report)[0] == []


@pytest.mark.parametrize("operation", ["ListStateMachines", "ListExecutions"])
def test_where_keepers_cannot_be_seen_nothing_of_a_kept_run_is_ended(operation: str) -> None:
    template = {"LaunchTemplateId": "lt-1", "LaunchTemplateName": LAUNCH, "CreateTime": LAUNCHED,
                "Tags": [*tags(name="lab", resource=LAUNCH, run="digits-1")]}  # fmt: skip
    aws = FakeAws(
        ListStateMachines={"stateMachines": [{"name": "provision-keeper-00000000", "creationDate": LAUNCHED}]},
        DescribeLaunchTemplates={"LaunchTemplates": [template]},
    )
    aws.answers[operation] = Refused("AccessDeniedException")
    report = audit.audit(aws.cloud, ["us-east-1"])
    assert report.bad == [] and [type(error) for _, error in report.errors] == [AuthError]
