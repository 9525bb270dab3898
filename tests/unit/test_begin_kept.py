"""A run that AWS keeps is begun whole or not at all; whatever goes wrong on the way leaves nothing that is billed."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.docker_engine import Docker
from infra.errors import AuthError, BusyError, CloudError, ProvisionError, UsageError
from provision.clouds import Session
from provision.engines import begin
from provision.engines.begin import Order
from provision.hosts import image as images
from provision.machines import find, journal, rent
from provision.offers import plan
from provision.offers.requirements import Requirements
from provision.runs import inputs
from provision.runs.manifest import Keeping, Manifest
from provision.runs.store import Run
from provision.settings import Settings
from provision.training import kept, start
from tests.unit.fake_aws import CLOUD, Refused
from tests.unit.fake_s3 import OURS, FakeS3
from tests.unit.kept_kit import DIGEST, RUN, Engine, made, request
from tests.unit.test_images_s3 import FILES

EXECUTION = f"arn:aws:states:us-east-1:{OURS}:execution:"


class Begun:
    """An account in which all works, until a test says otherwise."""

    def __init__(self, aws: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
        self.aws, self.undone, self.said = aws, [], []  # type: FakeS3, list[str], list[str]
        self.session = Session(CLOUD, Settings(), self.said.append)
        self.run = made()
        aws.answers |= {
            "DescribeStateMachine": {"status": "ACTIVE"},
            "DescribeExecution": Refused("ExecutionDoesNotExist"),
            "CreateSecurityGroup": {"GroupId": "sg-1"},
            "StartExecution": lambda given: {
                "executionArn": given["stateMachineArn"].replace("stateMachine", "execution") + ":" + given["name"]
            },
        }
        monkeypatch.setattr(begin, "open_local", lambda: cast(Docker, Engine(FILES)))
        monkeypatch.setattr(rent, "undo", self._undo)

    def _undo(self, cloud: Any, name: str, launch: str, say: Any, down: Any = None) -> bool:
        self.undone.append(launch)
        return True

    def begin(self, order: Order = Order(), **more: Any) -> Keeping:  # noqa: B008 - frozen
        return begin.begin(self.session, self.run, request(**more), order)

    def given(self) -> dict[str, Any]:
        """What the keeper was given."""
        found: dict[str, Any] = json.loads(self.aws.of("StartExecution")[-1]["input"])
        return found

    def held(self, name: str) -> Any:
        return json.loads(self.aws.held[f"runs/{RUN}/{name}"][0])

    def capsules(self) -> list[str]:
        names = [key.removeprefix(f"runs/{RUN}/") for key in self.aws.held]
        return [name for name in names if name.startswith("capsules/")]


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begun:
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("LOGNAME", "alice")
    return Begun(FakeS3(), monkeypatch)


def test_all_is_in_its_place_before_the_keeper_starts(one: Begun) -> None:
    keeping = one.begin()
    names = one.aws.names()
    start = names.index("StartExecution")
    for operation in (
        "CreateRole",
        "PutRolePolicy",
        "CreateSecurityGroup",
        "CreateLaunchTemplate",
        "CreateInstanceProfile",
    ):
        assert names.index(operation) < start, operation
    assert names[start + 1 :] == ["DeleteObjects"]  # the claim on the image's layers
    assert not [key for key in one.aws.held if key.startswith("images/claims/")]
    assert f"runs/{RUN}/keeper.json" in one.aws.held and len(one.capsules()) == 1
    assert any(key.startswith("host/") for key in one.aws.held)
    assert f"images/sha256/{DIGEST.removeprefix('sha256:')}.json" in one.aws.held
    assert keeping.name == f"{RUN}-1"
    assert one.held("keeper.json")["launch"] == keeping.launch == request().launch
    assert one.undone == []


def test_a_machine_of_it_lets_nobody_in_and_has_its_role_from_the_start(one: Begun) -> None:
    one.begin(fallback=True)
    assert not one.aws.of("AuthorizeSecurityGroupIngress")
    assert not one.aws.of("CreateFleet")
    templates = one.aws.of("CreateLaunchTemplate")
    launch = request().launch
    assert [given["LaunchTemplateName"] for given in templates] == [launch, f"{launch}-on-demand"]
    for given in templates:
        data = given["LaunchTemplateData"]
        assert data["IamInstanceProfile"] == {"Name": launch}
        marks = {tag["Key"]: tag["Value"] for tag in data["TagSpecifications"][0]["Tags"]}
        assert marks["provision:run"] == RUN and marks["provision:deadline"]


def test_nobody_is_let_in_by_session_manager_either(one: Begun) -> None:
    """`ssh` refuses a machine of a keeper's: rights for it would be rights that nobody uses."""
    one.begin(via="ssm")
    policies = [json.loads(given["PolicyDocument"]) for given in one.aws.of("PutRolePolicy")]
    actions = json.dumps(policies)
    assert policies and "ssm" not in actions and "s3:PutObject" in actions


def test_what_the_keeper_is_given(one: Begun) -> None:
    keeping = one.begin(Order(number=3, resumed_from=200, chosen=True), fallback=True, budget=12.0)
    given = one.given()
    assert (given["run"], given["prefix"], given["launch"], given["name"]) == (
        RUN,
        f"runs/{RUN}/",
        keeping.launch,
        "lab",
    )
    assert (given["number"], given["numbers"][0], len(given["numbers"])) == (3, "003", 30)
    assert given["first"] == {"resumed_from": 200, "chosen": True}
    assert [market["market"] for market in given["markets"]] == ["spot", "on-demand"]
    assert all("ClientToken" not in market["fleet"] for market in given["markets"])
    assert given["schedule"]["name"] == keeping.launch and given["schedule"]["expression"].startswith("at(")
    assert given["budget"] == 12.0 and 0.9 < given["hourly"] < 1.0
    assert 3500 <= sum(given["waits"]) <= 3600  # an hour
    assert given["until"].endswith("Z") and given["until"] < keeping.ends
    [name] = one.capsules()
    capsule = one.held(name)
    assert [3, 200] in capsule["chosen"]


def order_of(one: Begun) -> dict[str, Any]:
    """What the machines' user data say of the run."""
    data = base64.b64decode(one.aws.of("CreateLaunchTemplate")[-1]["LaunchTemplateData"]["UserData"])
    config = json.loads(gzip.decompress(data).partition(b"\n")[2])
    files = {file["path"]: file["content"] for file in config["write_files"]}
    found: dict[str, Any] = json.loads(files["/opt/provision/order.json"])
    return found


def test_a_machine_that_installs_its_driver_becomes_an_image_and_that_is_said_before(one: Begun) -> None:
    keeping = one.begin(tags={"provision:name": "lab", "provision:driver": "470"}, owner="alice@thinkpad 3f2a9c1d")
    said = " ".join(one.said)
    assert "the first machine with Kepler GPUs becomes a machine image" in said and "--no-bake" in said
    bake = one.given()["bake"]
    assert (bake["label"], bake["families"], bake["driver"]) == ("provision ubuntu-470", ["Kepler"], "470")
    assert bake["until"] < keeping.ends[:19]
    marks = {tag["Key"]: tag["Value"] for tag in bake["tags"][0]["Tags"]}
    assert (marks["provision:run"], marks["provision:owner"]) == (RUN, "alice@thinkpad 3f2a9c1d")
    assert "provision:resource" not in marks, "it does not end with its launch"
    assert order_of(one)["bake"] is True


@pytest.mark.parametrize("driver", ["", "470"])
def test_no_image_is_made_where_nothing_is_installed_or_nobody_wants_it(one: Begun, driver: str) -> None:
    one.session = replace(one.session, settings=Settings(bake=not driver))
    one.begin(tags={"provision:name": "lab", "provision:driver": driver})
    assert one.given()["bake"]["label"] == "" and "bake" not in order_of(one)
    assert "machine image" not in " ".join(one.said)


def test_a_budget_ends_the_whole_run_sooner(one: Begun) -> None:
    long = one.begin().ends
    one.aws.answers["DescribeExecution"] = {"status": "SUCCEEDED"}
    assert one.begin(budget=2.0).ends < long


def test_the_next_execution_has_the_next_name(one: Begun) -> None:
    one.begin()
    one.aws.answers["DescribeExecution"] = {"status": "FAILED"}
    assert one.begin(Order(2)).name == f"{RUN}-2"
    assert one.held("keeper.json")["number"] == 2


def test_one_that_goes_on_is_not_begun_again(one: Begun) -> None:
    one.begin()
    one.aws.answers["DescribeExecution"] = {"status": "RUNNING"}
    with pytest.raises(BusyError, match="is kept by AWS"):
        one.begin(Order(2))
    assert one.held("keeper.json")["number"] == 1
    assert len(one.aws.of("StartExecution")) == 1
    assert not one.aws.of("StopExecution")
    assert one.undone == [request().launch]


def test_of_two_that_begin_at_once_one_wins(one: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another laptop writes down its keeper after this one looked, and before this one does."""
    theirs = json.dumps(
        {"execution": f"{EXECUTION}provision-keeper-1:{RUN}-1", "launch": "provision-lab-theirs", "number": 1,
         "started": "2026-11-20T12:00:00+00:00", "ends": "2026-11-21T12:00:00+00:00"}
    ).encode()  # fmt: skip
    key = f"runs/{RUN}/keeper.json"
    write = begin._write

    def late(run: Run, keeping: Keeping, etag: str) -> None:
        one.aws.put(key, theirs)
        write(run, keeping, etag)

    monkeypatch.setattr(begin, "_write", late)
    one.run.ask_to_stop()  # the other one's run
    with pytest.raises(BusyError):
        one.begin()
    assert f"runs/{RUN}/control/stop" in one.aws.held
    assert one.aws.held[key][0] == theirs
    assert not one.aws.of("StartExecution") and not one.aws.of("StopExecution")


def test_who_comes_too_late_leaves_the_capsule_of_the_one_who_keeps_the_run(one: Begun) -> None:
    """Both have seen that nobody keeps it, and bring their images meanwhile: the slower one changes nothing."""
    one.begin()
    [name] = one.capsules()
    before = one.aws.held[f"runs/{RUN}/{name}"]
    one.aws.answers["DescribeExecution"] = {"status": "RUNNING"}
    with pytest.raises(BusyError):
        one.begin(Order(2, 100, chosen=True))  # another capsule
    assert one.aws.held[f"runs/{RUN}/{name}"] == before
    assert name == f"capsules/{hashlib.sha256(before[0]).hexdigest()}.json"


def code(folder: Path, text: str) -> str:
    folder.mkdir()
    (folder / "train.py").write_text(text)
    return str(folder)


def two_who_resume(one: Begun, monkeypatch: pytest.MonkeyPatch, theirs: str, ours: str) -> Keeping:
    """Another laptop gives its code and resumes the run; this one gives its own, and is all but done when the other
    one's keeper is written down."""
    other = Begun(one.aws, monkeypatch)
    inputs.give(other.run, None, theirs)
    inputs.give(one.run, None, ours)
    write, won = begin._write, list[Keeping]()

    def late(run: Run, keeping: Keeping, etag: str) -> None:
        monkeypatch.setattr(begin, "_write", write)
        won.append(other.begin(Order(2)))
        one.aws.answers["DescribeExecution"] = {"status": "RUNNING"}
        write(run, keeping, etag)

    monkeypatch.setattr(begin, "_write", late)
    with pytest.raises(BusyError):
        one.begin(Order(2), token="fedcba9876543210")
    return won[0]


def inputs_in_s3(one: Begun) -> set[str]:
    base = f"runs/{RUN}/inputs/"
    return {key.removeprefix(base) for key in one.aws.held if key.startswith(base)}


def test_of_two_who_resume_with_code_of_their_own_the_run_goes_by_the_winners(
    one: Begun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of the loser's is trained on, and nothing of it stays; the winner's manifest and copy are as it left
    them."""
    theirs, ours = code(tmp_path / "theirs", "print('theirs')"), code(tmp_path / "ours", "print('ours')")
    keeping = two_who_resume(one, monkeypatch, theirs, ours)
    [copy] = keeping.copies
    assert inputs_in_s3(one) == {f"{copy}.json", f"{copy}/train.py"}
    assert one.aws.held[f"runs/{RUN}/inputs/{copy}/train.py"][0] == b"print('theirs')"
    manifest = Run(one.run.store, RUN).manifest
    assert (manifest.project.value, manifest.project.copy) == (theirs, copy)
    [given] = [one.held(name) for name in one.capsules() if copy in json.dumps(one.held(name))]
    [code_of_it] = given["inputs"]
    index = one.aws.held[f"runs/{RUN}/inputs/{copy}.json"][0]
    assert code_of_it["prefix"] == f"runs/{RUN}/inputs/{copy}/"
    assert code_of_it["sum"] == hashlib.sha256(index).hexdigest()


def test_the_same_code_of_two_who_resume_stays_for_the_winner(
    one: Begun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    same = "print('same')"
    keeping = two_who_resume(one, monkeypatch, code(tmp_path / "theirs", same), code(tmp_path / "ours", same))
    [copy] = keeping.copies
    assert inputs_in_s3(one) == {f"{copy}.json", f"{copy}/train.py"}


def test_what_a_run_had_before_goes_once_it_is_kept_with_other_code(one: Begun, tmp_path: Path) -> None:
    inputs.give(one.run, None, code(tmp_path / "first", "1"))
    [first] = one.begin().copies
    one.aws.answers["DescribeExecution"] = {"status": "FAILED"}
    [same] = one.begin(Order(2)).copies
    assert same == first
    inputs.give(one.run, None, code(tmp_path / "second", "2"))
    [second] = one.begin(Order(3)).copies
    assert inputs_in_s3(one) == {f"{second}.json", f"{second}/train.py"} and second != first


def test_an_answer_that_is_lost_stops_what_may_have_begun(one: Begun) -> None:
    one.aws.answers["StartExecution"] = Refused("InternalFailure")
    with pytest.raises(CloudError):
        one.begin()
    [stopped] = one.aws.of("StopExecution")
    assert stopped["executionArn"].endswith(f":{RUN}-1")
    assert one.undone == [request().launch]


@pytest.mark.parametrize(
    "operation", ["CreateRole", "CreateSecurityGroup", "CreateLaunchTemplate", "CreateScheduleGroup"]
)
def test_what_is_refused_on_the_way_undoes_the_rest(one: Begun, operation: str) -> None:
    one.aws.answers[operation] = Refused("AccessDenied")
    with pytest.raises(ProvisionError):
        one.begin()
    assert one.undone == [request().launch]
    assert not one.aws.of("StartExecution")


@pytest.mark.parametrize("operation", ["DescribeStateMachine", "CreateScheduleGroup"])
def test_who_may_have_no_keeper_hears_of_it_before_anything_is_sent(one: Begun, operation: str) -> None:
    """One message, with the mend; an image takes hours on a home line."""
    before = set(one.aws.held)
    one.aws.answers[operation] = Refused("AccessDeniedException")
    with pytest.raises(AuthError, match="not allowed") as refused:
        one.begin()
    assert "iam-policy" in str(refused.value.mend)
    assert set(one.aws.held) == before
    assert not one.aws.of("CreateRole")


def test_nothing_that_audit_would_take_for_a_stray_is_made_before_all_is_brought(one: Begun) -> None:
    """A launch without a keeper is a stray after a quarter of an hour, and an upload may take longer."""
    one.begin()
    made = next(at for at, (_, given) in enumerate(one.aws.calls) if given.get("RoleName") == request().launch)
    keys = [given["Key"] for name, given in one.aws.calls[made:] if name == "PutObject"]
    assert not [key for key in keys if key.startswith(("images/", "host/", f"runs/{RUN}/inputs/"))]


def test_a_keeper_that_is_to_wait_for_nothing_waits_until_iam_has_told_ec2_of_the_role(one: Begun) -> None:
    one.run = made(wait_hours=0.0)
    one.begin()
    assert 60 <= sum(one.given()["waits"]) <= 120


def test_a_wait_that_is_longer_than_s3_keeps_the_snapshots_is_refused_first(one: Begun) -> None:
    rule = {"ID": "provision", "Status": "Enabled", "Filter": {"Prefix": "runs/"}, "Expiration": {"Days": 10}}
    one.aws.rules = [rule]
    one.run = made(wait_hours=168.0)
    with pytest.raises(UsageError, match="snapshots of"):
        one.begin(fallback=True)  # a week each
    assert not one.aws.of("CreateRole") and one.undone == []
    one.begin()


@pytest.mark.parametrize(("status", "stays"), [("RUNNING", True), ("ABORTED", False), ("refused", True)])
def test_a_run_whose_keeper_may_have_begun_stays_to_be_stopped(
    one: Begun, monkeypatch: pytest.MonkeyPatch, status: str, stays: bool
) -> None:
    """StartExecution's answer was lost, and StopExecution was refused: `stop RUN` needs the run's folder."""
    one.aws.answers["StartExecution"] = Refused("InternalFailure")
    one.aws.answers["StopExecution"] = Refused("InternalFailure")
    image = SimpleNamespace(digest=DIGEST)
    monkeypatch.setattr(images, "obtain", lambda _: image)
    monkeypatch.setattr(start, "manifest_of", lambda *_: one.run.manifest)

    def written(*_: Any) -> Run:
        answer = Refused("AccessDeniedException") if status == "refused" else {"status": status}
        one.aws.answers["DescribeExecution"] = answer
        return one.run

    monkeypatch.setattr(start, "written", written)
    plan: Any = SimpleNamespace(request=SimpleNamespace(diagnose=False), stack="", image="")
    with pytest.raises(CloudError):
        kept.train(one.session, plan, request(), kept.Terms())
    assert (f"runs/{RUN}/manifest.json" in one.aws.held) == stays
    assert [words for words in one.said if f"stop {RUN}" in words]


def trained(one: Begun, monkeypatch: pytest.MonkeyPatch, terms: kept.Terms) -> Run:
    """The run of a `train --detach` with these terms."""
    monkeypatch.setattr(begin, "request_of", lambda *_: request())
    monkeypatch.setattr(images, "obtain", lambda _: SimpleNamespace(digest=DIGEST))
    monkeypatch.setattr(start, "manifest_of", lambda *_: one.run.manifest)

    def written(_: Session, manifest: Manifest) -> Run:
        one.run.write_manifest(manifest)
        return one.run

    monkeypatch.setattr(start, "written", written)
    plan: Any = SimpleNamespace(request=SimpleNamespace(diagnose=False), stack="", image="")
    return kept.train(one.session, plan, request(), terms)[0]


@pytest.mark.parametrize("state", ["PendingConfirmation", f"arn:aws:sns:us-east-1:{OURS}:provision-1:2"])
def test_the_url_of_a_webhook_is_written_down_nowhere_and_who_waits_is_said(
    one: Begun, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    hook = "https://hooks.example.org/services/s3cr3t"
    one.aws.answers |= {
        "CreateTopic": lambda given: {"TopicArn": f"arn:aws:sns:us-east-1:{OURS}:{given['Name']}"},
        "ListSubscriptionsByTopic": {"Subscriptions": [{"SubscriptionArn": state, "Endpoint": "another"}]},
    }
    run = trained(one, monkeypatch, kept.Terms(notify=hook))
    [asked] = one.aws.of("Subscribe")
    assert asked["Endpoint"] == hook
    others = [words for name, words in one.aws.calls if name != "Subscribe"]
    assert "s3cr3t" not in repr([others, one.aws.held, one.said])
    assert one.given()["notify"] == asked["TopicArn"] == run.manifest.settings.notify
    waits = [words for words in one.said if "is told nothing before it has confirmed" in words]
    assert [words.partition(" ")[0] for words in waits] == ["https://hooks.example.org/…"] * state.startswith("Pend")


def test_a_look_at_the_topic_that_fails_does_not_end_a_run_that_has_begun(
    one: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([{"Subscriptions": [{"SubscriptionArn": "PendingConfirmation", "Endpoint": "a@b.c"}]}])
    one.aws.answers |= {
        "CreateTopic": lambda given: {"TopicArn": f"arn:aws:sns:us-east-1:{OURS}:{given['Name']}"},
        "ListSubscriptionsByTopic": lambda _: next(looks, Refused("InternalError")),
    }
    assert trained(one, monkeypatch, kept.Terms(notify="a@b.c")).keeping() is not None
    assert one.undone == []


def test_down_and_audit_look_into_its_region_from_another_one(one: Begun) -> None:
    elsewhere = replace(CLOUD, region="eu-west-1")
    assert journal.regions(elsewhere) == []
    one.begin()
    assert journal.regions(elsewhere) == journal.regions(elsewhere, "lab") == ["us-east-1"]
    assert journal.regions(elsewhere, "other") == []
    assert {place.region for place in find.places(elsewhere)} == {"eu-west-1", "us-east-1"}
    assert journal.notes(CLOUD, None) == [] and journal.launches(CLOUD) == {}


def test_ctrl_c_undoes_it_too(one: Begun) -> None:
    def interrupted(_: Any) -> Any:
        raise KeyboardInterrupt

    one.aws.answers["CreateLaunchTemplate"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        one.begin()
    assert one.undone == [request().launch]


def test_an_old_wish_to_stop_does_not_stop_the_next_machines(one: Begun) -> None:
    one.run.ask_to_stop()
    one.begin()
    assert f"runs/{RUN}/control/stop" not in one.aws.held


@pytest.mark.parametrize(
    ("wish", "settings", "said"),
    [
        (lambda wish: replace(wish, volumes=("data:20",)), Settings(), "--volume"),
        (lambda wish: wish, Settings(keep_on_error_minutes=30.0), "--keep-on-error"),
    ],
    ids=["a kept disk", "a look at a failed machine"],
)
def test_what_needs_a_laptop_is_refused_before_anything_is_asked(
    one: Begun, wish: Callable[[Requirements], Requirements], settings: Settings, said: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(plan, "plan", lambda *_: pytest.fail("AWS was asked"))
    with pytest.raises(UsageError) as refused:
        begin.request_of(Session(CLOUD, settings), wish(Requirements("lab", "p2.xlarge")))
    assert said in f"{refused.value.what} {refused.value.mend}"


@pytest.mark.parametrize("more", [{"max_hours": 0.3}, {"budget": 0.5}], ids=["hours", "dollars"])
def test_a_time_in_which_no_machine_would_be_asked_for_is_refused_first(one: Begun, more: dict[str, float]) -> None:
    before = len(one.aws.calls)
    with pytest.raises(UsageError, match="minutes in all"):
        one.begin(**more)
    assert len(one.aws.calls) == before


def test_an_id_that_is_too_long_for_an_execution_is_refused_first(one: Begun) -> None:
    before = len(one.aws.calls)
    with pytest.raises(UsageError, match="too long for a keeper"):
        begin.begin(one.session, Run(one.run.store, "a" * 76), request(), Order())
    assert len(one.aws.calls) == before
