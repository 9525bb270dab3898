"""A machine that had to install its driver becomes a machine image at its end; what fails costs the run nothing."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from infra.aws.machine_images import BAKED, FROM
from provision.engines import baking
from provision.machines import kept_bake
from tests.simulate.asl import EPOCH, told
from tests.simulate.asl_values import Broken
from tests.unit.kept_kit import request
from tests.unit.test_engines_definition import BUSY, DONE, ENDS, LOST, SILENT, SPOT, Aws, cleared, kept

CLEAN = {**DONE, "clean": True}
RUN_ENDS = EPOCH + timedelta(seconds=ENDS)
TAKEN = Broken("Ec2.Ec2Exception", "AMI name is already in use (Service: Ec2, Status Code: 400, Request ID: 1)")
DENIED = Broken("Ec2.Ec2Exception", "You are not authorized (Service: Ec2, Status Code: 403, Request ID: 1)")


def bake(**more: Any) -> dict[str, Any]:
    """What the keeper of a machine is given that has to install its driver."""
    wish = kept_bake.at_end(request(tags={"provision:driver": "470"}))
    return {**kept_bake.given(wish, request(), "r", RUN_ENDS), **more}


class Images:
    """The account's machine images by name: those of other runs, and what becomes of ours, look by look."""

    def __init__(self, *becomes: str, others: int = 0) -> None:
        self.becomes, self.others = list(becomes or ("pending", "available")), others
        self.made: dict[str, Any] | None = None
        self.looked = 0
        self.pieces = 1

    def create(self, aws: Aws, words: dict[str, Any]) -> Any:
        if self.made is not None:
            return TAKEN
        self.made = words
        return {"ImageId": "ami-7"}

    def describe(self, aws: Aws, words: dict[str, Any]) -> Any:
        filters = {one["Name"]: one["Values"] for one in words["Filters"]}
        if "name" not in filters:
            return {"Images": [{"ImageId": "ami-1", "State": "available"}] * self.others}
        assert filters == {"name": ["provision ubuntu-470"], "tag:provision:run": ["r"]}
        if self.made is None:
            return {"Images": []}
        state = self.becomes.pop(0) if len(self.becomes) > 1 else self.becomes[0]
        return {"Images": [{"ImageId": "ami-7", "State": state, "Tags": [{"Key": "State", "Value": "x"}]}]}

    def snapshots(self, aws: Aws, words: dict[str, Any]) -> Any:
        return {"Snapshots": [{"SnapshotId": f"snap-{number}"} for number in range(self.pieces)]}

    def delete(self, aws: Aws, words: dict[str, Any]) -> Any:
        self.pieces -= 1
        return {}

    def answers(self, **more: Any) -> dict[str, Any]:
        return {
            "createImage": self.create,
            "describeImages": self.describe,
            "describeSnapshots": self.snapshots,
            "deleteSnapshot": self.delete,
            **more,
        }


def baked(images: Images, *words: Any, given: dict[str, Any] | None = None, **more: Any) -> tuple[Any, Aws]:
    aws = Aws(*(words or (CLEAN,)), **images.answers(**more))
    execution = kept(aws, bake=given or bake())
    assert execution.status == "SUCCEEDED" and cleared(aws) and aws.gone == aws.launched
    return execution, aws


def names(execution: Any) -> list[str]:
    return [name for _, name in execution.entered]


def test_it_is_baked_before_it_is_ended_and_waited_for() -> None:
    execution, aws = baked(images := Images("pending", "pending", "available"))
    order = aws.order()
    assert order.index("createImage") < order.index("terminateInstances")
    assert order.index("terminateInstances") > max(at for at, name in enumerate(order) if name == "describeImages")
    assert "Baked" in names(execution) and "deregisterImage" not in order
    assert images.made is not None
    assert (images.made["InstanceId"], images.made["NoReboot"]) == ("i-1", True)


def test_the_image_has_the_tags_of_one_that_was_baked_by_hand_and_of_its_run() -> None:
    _, aws = baked(Images())
    [made] = aws.of("createImage")
    assert made["Name"] == "provision ubuntu-470"
    assert [one["ResourceType"] for one in made["TagSpecifications"]] == ["image", "snapshot"]
    for one in made["TagSpecifications"]:
        tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        assert tags == {
            "Name": "provision ubuntu-470", "provision:name": "lab", BAKED: "Kepler", FROM: "ami-1",
            "provision:driver": "470", "provision:run": "r",
        }  # fmt: skip


def test_one_that_is_there_or_comes_is_not_made_again() -> None:
    execution, aws = baked(Images(others=1))
    assert not aws.of("createImage") and baking.MADE not in names(execution)
    [look] = aws.of("describeImages")
    assert {"Name": "tag:provision:baked", "Values": ["Kepler"]} in look["Filters"]
    assert {"Name": "tag:provision:driver", "Values": ["470"]} in look["Filters"]
    assert {"Name": "state", "Values": ["available", "pending"]} in look["Filters"]


def test_of_two_at_once_one_is_refused_the_name_and_touches_nothing_of_the_others() -> None:
    """AWS gives the name once; under it and this run's tag nothing is found then."""
    images = Images()
    images.pieces = 0
    execution, aws = baked(images, createImage=TAKEN)
    assert baking.UNMADE in names(execution)
    assert not aws.of("deregisterImage") and not aws.of("deleteSnapshot")
    assert execution.now - {name: at for at, name in execution.entered}["Bake"] < 600


@pytest.mark.parametrize("word", [
    DONE, {**DONE, "clean": "yes"}, {"state": "stopped", "clean": True},
], ids=["not cleaned", "odd", "stopped"])  # fmt: skip
def test_only_a_finished_training_on_a_machine_that_was_cleaned_is_baked(word: dict[str, Any]) -> None:
    _, aws = baked(Images(), word)
    assert not aws.of("createImage") and not aws.of("describeImages")


def test_a_failed_and_a_silent_machine_are_not_baked() -> None:
    for word in ({**CLEAN, "state": "failed"}, SILENT):
        aws = Aws(word, getObject={"Body": json.dumps({"state": "failed", "attempt": 1, "instance": "i-1"})})
        assert kept(aws, bake=bake()).error == "TrainingFailed"
        assert not aws.of("createImage")


def test_an_interrupted_machine_is_not_baked_and_the_next_one_is() -> None:
    _, aws = baked(Images(), {**SPOT, "clean": True}, CLEAN)
    assert [made["InstanceId"] for made in aws.of("createImage")] == ["i-2"]


def test_nothing_is_baked_where_nobody_asked_for_it() -> None:
    _, aws = baked(Images(), given=dict(kept_bake.NOTHING))
    assert not aws.of("createImage") and not aws.of("describeImages")


def test_none_is_begun_that_may_outlast_the_run() -> None:
    _, aws = baked(Images(), given=bake(until=told(50)[:19] + "Z"))
    assert not aws.of("createImage")
    until = datetime.fromisoformat(str(bake()["until"]).replace("Z", "+00:00"))
    longest = timedelta(seconds=baking.LOOKS * baking.LOOK_S)
    assert longest < RUN_ENDS - until <= longest + timedelta(minutes=5)


@pytest.mark.parametrize("state", ["failed", "error", "invalid", "pending"])
def test_an_image_that_fails_or_takes_too_long_is_taken_away_with_its_snapshots(state: str) -> None:
    images = Images(state)
    images.pieces = 2
    execution, aws = baked(images, deregisterImage={})
    order = aws.order()
    assert baking.UNMADE in names(execution) and baking.MADE not in names(execution)
    assert [words["ImageId"] for words in aws.of("deregisterImage")] == ["ami-7"]
    assert order.index("deregisterImage") < order.index("deleteSnapshot") < order.index("terminateInstances")
    assert images.pieces == 0
    assert execution.now < 100 + 1.3 * baking.LOOKS * baking.LOOK_S
    pieces = aws.of("describeSnapshots")[0]["Filters"]
    assert {"Name": "tag:Name", "Values": ["provision ubuntu-470"]} in pieces
    assert {"Name": "tag:provision:run", "Values": ["r"]} in pieces


def test_an_answer_that_was_lost_is_looked_after() -> None:
    def lost(images: Images) -> Callable[[Aws, Any], Any]:
        def create(aws: Aws, words: dict[str, Any]) -> Any:
            said = images.create(aws, words)
            return said if isinstance(said, Broken) else LOST

        return create

    images = Images()
    execution, _ = baked(images, createImage=lost(images))
    assert images.made is not None and baking.MADE in names(execution)


@pytest.mark.parametrize("action", ["describeImages", "createImage"])
@pytest.mark.parametrize("error", [BUSY, DENIED, LOST], ids=["busy", "denied", "lost"])
def test_whatever_aws_refuses_costs_the_run_nothing(action: str, error: Broken) -> None:
    images = Images()
    images.pieces = 0
    execution, _ = baked(images, **{action: error})
    assert execution.output == {"word": "finished"} and baking.MADE not in names(execution)
    assert execution.now < 900


@pytest.mark.parametrize("action", ["deregisterImage", "describeSnapshots", "deleteSnapshot"])
def test_what_cannot_be_taken_away_keeps_no_machine(action: str) -> None:
    execution, aws = baked(Images("failed"), **{"deregisterImage": {}, action: DENIED})
    assert execution.output == {"word": "finished"}
    assert len(aws.of("deleteSnapshot")) <= 4 * (baking.PIECES + 1)


def test_a_machine_that_aws_takes_meanwhile_is_no_error() -> None:
    execution, _ = baked(Images("failed"), deregisterImage={})
    assert execution.output == {"word": "finished"}


# whether, and what


@pytest.mark.parametrize(
    ("kind", "gpu", "driver", "families"),
    [("p2.xlarge", "K80", "470", ("Kepler",)), ("p3.8xlarge", "V100", "535", ("Maxwell", "Pascal", "Volta"))],
)
def test_one_image_is_for_all_families_that_have_its_driver(
    kind: str, gpu: str, driver: str, families: tuple[str, ...]
) -> None:
    made = kept_bake.at_end(request(offers=(offer(kind, gpu),), tags={"provision:driver": driver}))
    assert made is not None
    assert (made.families, made.driver, made.label) == (families, driver, f"provision ubuntu-{driver}")
    assert made.monthly == pytest.approx(5.0) and "$5.00 a month" in made.words()


def offer(kind: str, gpu: str) -> Any:
    from infra.aws.types import InstanceType, Offer

    return Offer(InstanceType(kind, 4, 61000, gpu, 1, 12000), "us-east-1a", "subnet-1", 0.3, 0.9)


@pytest.mark.parametrize(
    ("kind", "gpu", "tags"),
    [("p3.2xlarge", "V100", {}), ("g4dn.xlarge", "T4", {}), ("g4dn.xlarge", "T4", {"provision:driver": "535"}),
     ("t3.micro", "", {}), ("p3.2xlarge", "V100", {"provision:driver": "520"})],
    ids=["from a baked image", "AWS's image has all", "odd", "no GPU", "another driver than the table's"],
)  # fmt: skip
def test_what_has_nothing_to_install_is_not_baked(kind: str, gpu: str, tags: dict[str, str]) -> None:
    assert kept_bake.at_end(request(offers=(offer(kind, gpu),), tags=tags)) is None


def test_who_does_not_want_it_gets_none() -> None:
    assert kept_bake.at_end(request(tags={"provision:driver": "470"}), wanted=False) is None


def test_what_the_keeper_is_given_is_small_and_whole() -> None:
    keys = set(kept_bake.NOTHING)
    assert set(bake()) == keys
    assert len(json.dumps(bake())) < 2000
    assert datetime.now(timezone.utc) > datetime.fromisoformat(str(kept_bake.NOTHING["until"]).replace("Z", "+00:00"))
