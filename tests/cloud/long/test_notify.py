"""Who asked for it is told by AWS how a run goes: a webhook hears of an interruption and of the end, and its URL, which
may hold a secret, lies nowhere but at SNS."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.hook_kit import Hook, authority, listening
from tests.cloud.kept_kit import Kept, wait_for
from tests.cloud.support import Emulator, Laptop, run_of, runs_bucket, start_cloud, stop_cloud

pytestmark = pytest.mark.cloud
SECRET = "t0ken-0123456789abcdef"
MIDDLE = ("--set", "iterations=12000", "--set", "snapshot_every=500", "--set", "test_every=5000")
TRAIN = ("train", "digits", "--instance", "p3.2xlarge", "--detach")


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, image: str, trusted: Path) -> Iterator[Emulator]:
    """A local cloud that trusts the tests' authority."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROVISION_LOCAL_HOME", str(tmp_path_factory.mktemp("local")))
        patch.setenv("PROVISION_LOCAL_CA", str(trusted))
        one = start_cloud(f"n{os.getpid()}", "--preload", image)
        yield one
        stop_cloud(one)


@pytest.fixture
def hook(trusted: Path) -> Iterator[Hook]:
    with listening(trusted.parent) as one:
        yield one


def written(emulator: Emulator, laptop: Laptop, run: str) -> str:
    """All that is written down anywhere of the run: S3, EC2, IAM, the keeper's input and steps, and on the laptop."""
    s3, ec2, states = (emulator.client(name) for name in ("s3", "ec2", "stepfunctions"))
    bucket = runs_bucket(emulator)
    found: list[Any] = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"runs/{run}/"):
        bodies = [s3.get_object(Bucket=bucket, Key=row["Key"])["Body"].read() for row in page["Contents"]]
        found += [body.decode("latin-1") for body in bodies]
    found.append(ec2.describe_instances())
    found += [
        ec2.describe_instance_attribute(InstanceId=one["InstanceId"], Attribute="userData")
        for one in emulator.instances()
    ]
    found.append(ec2.describe_launch_template_versions(Versions=["$Latest"]))
    keeper = Kept(emulator, run).keeping["execution"]
    found.append(states.describe_execution(executionArn=keeper))
    found += states.get_paginator("get_execution_history").paginate(executionArn=keeper)
    found += [path.read_text("latin-1") for path in laptop.home.rglob("*") if path.is_file()]
    found.append(emulator.page("calls", {}))
    found.append((Path(emulator.facts["state_dir"]) / "daemon.log").read_text())
    return json.dumps(found, default=str)


def test_a_webhook_hears_how_a_run_goes_and_its_url_lies_nowhere(
    laptop: Laptop, emulator: Emulator, hook: Hook
) -> None:
    begun = laptop.run(*TRAIN, *MIDDLE, "--notify", hook.url(f"/services/{SECRET}"), timeout=900)
    assert begun.returncode == 0, begun.stderr
    said = begun.stdout + begun.stderr
    assert SECRET not in said
    assert "https://127.0.0.1/… is told nothing before it has confirmed" in said and "SubscribeURL" in said

    hook.confirms.set()
    run = Kept(emulator, run_of(begun.stdout)).trains()
    assert SECRET not in written(emulator, laptop, run.run)
    run.notice(30)
    assert run.ended() == ("SUCCEEDED", "")
    first, last = wait_for(lambda: len(hook.of("Notification")) == 2 and hook.of("Notification"), "both messages")
    assert {path for path, _ in hook.posted} == {f"/services/{SECRET}"}
    assert first["Subject"] == "provision: interrupted"
    assert f"attempt 001 of {run.run} was interrupted, and another machine is asked for" in first["Message"]
    assert last["Subject"] == "provision: finished"
    assert f"provision fetch {run.run} --cloud local:{emulator.name}" in last["Message"]
    assert SECRET not in written(emulator, laptop, run.run)
    wait_for(emulator.nothing_left, f"nothing left: {emulator.leftovers()}")

    [kept] = [row for row in json.loads(laptop.ok("audit", "--json"))["findings"] if row["kind"] == "topics"]
    assert (kept["verdict"], kept["state"]) == ("kept", "tells")


def test_an_address_that_never_confirmed_leaves_a_topic_that_audit_takes_away(
    laptop: Laptop, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("no images\n")
    words = [*TRAIN, "--data", str(tmp_path / "data"), "--notify", "alice@example.org"]
    begun = laptop.run(*words, timeout=900)
    assert begun.returncode == 0, begun.stderr
    assert "alice@example.org is told nothing before it has confirmed: AWS has written to it" in begun.stderr
    run = Kept(emulator, run_of(begun.stdout))
    assert run.ended() == ("FAILED", "TrainingFailed")
    wait_for(emulator.nothing_left, f"nothing left: {emulator.leftovers()}")
    messages = [one for topic in emulator.page("topics").values() for one in topic if run.run in one["message"]]
    assert [one["subject"] for one in messages] == ["provision: failed"]
    assert f"to go on: provision resume {run.run} --detach --cloud" in messages[0]["message"]

    sns = emulator.client("sns")
    topics = [row["TopicArn"] for row in sns.list_topics()["Topics"]]
    [mine] = [arn for arn in topics if sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"][0]["Protocol"]
              == "email"]  # fmt: skip
    sns.delete_topic(TopicArn=mine)  # as SNS forgets an address after two days
    sns.create_topic(Name=mine.rpartition(":")[2])
    assert laptop.run("audit").returncode == 18
    assert mine.rpartition(":")[2] in laptop.ok("audit", "--fix")
    assert mine not in [row["TopicArn"] for row in sns.list_topics()["Topics"]]
